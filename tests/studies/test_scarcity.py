"""A study of scarcity, on the shapes: what it trains, how it goes on, what it refuses."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe
from commoncanvas.core.errors import CommonCanvasError, RecipeError, TrainingError
from commoncanvas.encoding.command import encode
from commoncanvas.provenance.folder import read_rows
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.studies import scarcity
from commoncanvas.studies.scarcity import study_scarcity
from commoncanvas.table.filters import save_filter
from commoncanvas.table.schema import to_batch
from commoncanvas.training.log import read_log
from tests.training.museum import add_museum, both, scan
from tests.training.tiny import recipe, stopping_at

FRACTIONS = (0.5, 1.0)
PROMPTS = 4
REPOSITORY = Path(__file__).parents[2]


def studied(folder: Path, *words: str) -> DiffusionRecipe:
    found = recipe("xs", folder, "--data.text", "[title]", "--data.heldout_fraction", "0.3", *words)
    assert isinstance(found, DiffusionRecipe)
    return found


def study(folder: Path, *words: str, **options: Any) -> Any:
    return study_scarcity(studied(folder, *words), FRACTIONS, **{"prompts": PROMPTS, **options})


@pytest.fixture(scope="module")
def encoded(drawn_and_trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shapes with latents and text states, and the autoencoder that made them."""
    folder = tmp_path_factory.mktemp("encoded")
    shutil.copytree(drawn_and_trained, folder, dirs_exist_ok=True)
    encode(studied(folder))
    return folder


@pytest.fixture(scope="module")
def finished(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study in xs-scarcity; to be read only."""
    folder = tmp_path_factory.mktemp("finished")
    shutil.copytree(encoded, folder, dirs_exist_ok=True)
    study(folder)
    return folder


@pytest.fixture
def folder(encoded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoded, tmp_path / "study"))


@pytest.fixture
def museum_there(folder: Path) -> tuple[str, ...]:
    """The words of a recipe over the shapes and a museum beside them."""
    add_museum(folder / "museum.lance")
    return both(folder)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def split(model: Path, name: str) -> set[str]:
    return {row["image_id"] for row in read_rows(str(model)).to_pylist() if row["split"] == name}


def held_out(evaluation: Path) -> list[tuple[str, int]]:
    samples = json.loads((evaluation / "evaluation.json").read_text())["heldout_samples"]
    return [(sample["prompt"], sample["seed"]) for sample in samples]


@pytest.mark.slow
def test_fractions_are_nested_and_differ_in_nothing_else(finished: Path) -> None:
    out = finished / "xs-scarcity"
    half, whole = out / "fraction-0.5", out / "fraction-1"
    assert split(half, "train") < split(whole, "train")
    assert split(half, "heldout") == split(whole, "heldout") != set()
    assert held_out(out / "fraction-0.5-evaluation") == held_out(out / "fraction-1-evaluation")
    assert len(held_out(out / "fraction-1-evaluation")) == PROMPTS
    recipes = [read_provenance(model)["recipe"] for model in (half, whole)]
    for each in recipes:
        each["out"] = each["data"]["fraction"] = None
    assert recipes[0] == recipes[1]


@pytest.mark.heavy
def test_a_study_of_several_catalogs_pins_each_and_judges_on_both(
    folder: Path, museum_there: tuple[str, ...]
) -> None:
    encode(studied(folder, *museum_there))
    found = study(folder, *museum_there)
    assert found.catalogs.keys() == {"cc", "museum"}
    # Rows that come later are in no later point.
    Catalog.open(folder / "museum.lance").add([to_batch([scan("late:1", "pink", "dot")])])
    again = study_scarcity(studied(folder, *museum_there), (0.25, *FRACTIONS), prompts=PROMPTS)
    out = folder / "xs-scarcity"
    assert [split(out / f"fraction-{share}", "heldout") for share in ("0.25", "0.5")] == [
        split(out / "fraction-1", "heldout")
    ] * 2
    assert split(out / "fraction-0.25", "train") < split(out / "fraction-1", "train")
    assert again.catalogs == found.catalogs
    versions = {name: where["version"] for name, where in found.catalogs.items()}
    record = read_provenance(out / "fraction-0.25")["catalogs"]
    assert {name: source["version"] for name, source in record.items()} == versions
    page = (out / "scarcity.html").read_text()
    assert f"catalog.lance, version {versions['cc']} and museum.lance, version {versions['museum']}" in page


@pytest.mark.heavy
def test_a_study_of_a_tag_is_of_its_rows_at_one_version(folder: Path) -> None:
    catalog = Catalog.open(folder / "catalog.lance")
    save_filter(catalog, "c-v1", "image_id <> 'shapes:07'")
    catalog.add([to_batch([scan("late:1", "pink", "dot")])])
    encode(studied(folder))
    found = study(folder, "--data.tag", "c-v1")
    catalog.refresh()
    catalog.add([to_batch([scan("late:2", "pink", "dot")])])
    encode(studied(folder))
    again = study_scarcity(studied(folder, "--data.tag", "c-v1"), (0.25, *FRACTIONS), prompts=PROMPTS)
    assert again.catalogs == found.catalogs
    for point in again.points:
        seen = set().union(*(split(Path(point.model), name) for name in ("train", "heldout", "unused")))
        assert len(seen) == 23 and not seen & {"shapes:07", "late:1", "late:2"}
        assert (
            read_provenance(Path(point.model))["catalogs"]["main"]["version"]
            == found.catalogs["main"]["version"]
        )


def test_the_result_says_what_each_model_learned_from_and_what_bounds_its_figures(finished: Path) -> None:
    out = finished / "xs-scarcity"
    found = json.loads((out / "scarcity.json").read_text())
    images = len(split(out / "fraction-1", "train"))
    assert [row["images"] for row in found["rows"]] == [round(images / 2), images]
    assert [row["epochs"] for row in found["rows"]] == [48 / round(images / 2), 48 / images]
    assert [row["creators"] for row in found["rows"]] == [3, 3]
    assert found["finished"] and found["steps"] == 6 and found["images"] == images
    half, whole = (point["figures"] for point in found["points"])
    for name in ("fd_reconstruction_heldout", "fd_noise_heldout", "retrieval_chance_heldout"):
        assert half[name] == whole[name] is not None
    assert half["fd_heldout"] != whole["fd_heldout"]
    assert any("xs-autoencoder" in note for note in found["notes"])
    page = (out / "scarcity.html").read_text()
    assert page.count('<img src="data:image/webp') == page.count("<img") == 3 * PROMPTS
    assert (out / "scarcity.png").read_bytes().startswith(b"\x89PNG") and "<svg" in (
        out / "scarcity.svg"
    ).read_text()


@pytest.mark.slow
def test_a_training_that_is_not_asked_for_again_stays_in_the_study(finished: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "again"))
    found = study_scarcity(studied(folder), [1.0], prompts=PROMPTS)
    assert [point.fraction for point in found.points] == [0.5, 1.0]
    assert json.loads((folder / "xs-scarcity" / "scarcity.json").read_text())["finished"]


def test_each_training_has_checkpoints_of_its_own(tmp_path: Path) -> None:
    made = studied(tmp_path, "--train.checkpoints", "s3://commons/study/")
    jobs = [
        scarcity.Job(tmp_path, made, {"main": 1}, {"main": None}, fraction, seed)
        for fraction in FRACTIONS
        for seed in (0, 1)
    ]
    assert [job.its_recipe().train.checkpoints for job in jobs] == [
        f"s3://commons/study/fraction-{name}" for name in ("0.5", "0.5-seed-2", "1", "1-seed-2")
    ]


def test_a_finished_study_is_shown_again_and_nothing_is_trained(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_words: object, **_options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(scarcity, "train", never)
    monkeypatch.setattr(scarcity, "evaluate", never)
    before = (finished / "xs-scarcity" / "scarcity.json").read_bytes()
    study(finished)
    assert (finished / "xs-scarcity" / "scarcity.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "options", "changed"),
    [
        (("--train.learning_rate", "0.1"), {}, r"train\.learning_rate"),
        (("--seed", "3"), {}, "seed"),
        (("--data.filter", "label IS NOT NULL"), {}, r"data\.catalogs\.main\.filter, rows"),
        (("--sample.guidance_scale", "5"), {}, "sample"),
        ((), {"prompts": 3}, "prompts"),
    ],
)
def test_a_folder_with_another_study_is_refused(
    finished: Path, words: tuple[str, ...], options: dict[str, int], changed: str
) -> None:
    with pytest.raises(
        TrainingError, match=rf"has other settings \(changed: {changed}\); choose another --out"
    ):
        study(finished, *words, **options)


def test_what_changes_nothing_in_the_models_may_change(finished: Path) -> None:
    assert study(finished, "--train.checkpoint_every", "3").finished


@pytest.mark.slow
def test_rows_that_come_later_are_not_in_a_study_that_has_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_words: object, **_options: object) -> None:
        raise TrainingError("broken")

    monkeypatch.setattr(scarcity, "evaluate", broken)
    with pytest.raises(TrainingError, match="broken"):
        study(folder)
    monkeypatch.undo()
    catalog = Catalog.open(folder / "catalog.lance")
    catalog.dataset.delete("image_id = 'shapes:00'")
    study(folder)
    whole = folder / "xs-scarcity" / "fraction-1"
    assert "shapes:00" in split(whole, "train") | split(whole, "heldout")


@pytest.mark.slow
def test_stopped_in_a_training_it_goes_on_to_the_same_figures(finished: Path, folder: Path) -> None:
    with stopping_at(3, match="at fraction 1, its state saved; run the same command to continue"):
        study(folder)
    partial = json.loads((folder / "xs-scarcity" / "scarcity.json").read_text())
    assert not partial["finished"] and [row["fraction"] for row in partial["rows"]] == [0.5]
    assert "1 of 2 trainings; run the same command to continue." in partial["notes"]
    assert figures(study(folder)) == figures(study(finished))
    assert len(read_log(folder / "xs-scarcity" / "fraction-1-run" / "log.jsonl")) == 6


KILLED = """
import sys
from pathlib import Path
from tests.studies.test_scarcity import study
study(Path(sys.argv[1]))
"""


@pytest.mark.heavy
def test_killed_at_any_moment_it_goes_on_to_the_same_figures(finished: Path, folder: Path) -> None:
    """In the first training, before its evaluation is done, in the second training, and in its evaluation."""
    out = folder / "xs-scarcity"
    moments = (
        out / "fraction-0.5-run" / "checkpoints",
        out / "fraction-0.5",
        out / "fraction-1-run" / "log.jsonl",
        out / "fraction-1",
    )
    for moment in moments:
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder)], cwd=REPOSITORY, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not moment.exists():
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    assert figures(study(folder)) == figures(study(finished))


def figures(found: Any) -> list[Any]:
    return [(point.fraction, point.images, point.figures) for point in found.points]


@pytest.mark.heavy
def test_seeds_draw_other_images_and_give_a_spread(folder: Path) -> None:
    first = study(folder)
    both = study(folder, seeds=2)  # what is there is kept
    assert [point for point in both.points if point.seed == 17] == list(first.points)
    out = folder / "xs-scarcity"
    assert split(out / "fraction-0.5", "train") != split(out / "fraction-0.5-seed-2", "train")
    assert split(out / "fraction-0.5-seed-2", "train") < split(out / "fraction-1-seed-2", "train")
    (half, whole) = both.rows
    values = [point.figures["fd_heldout"] for point in half.points]
    found = half.spread("fd_heldout")
    assert found.mean == pytest.approx(sum(values) / 2)
    assert found.deviation == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert len(whole.points) == 2 and first.rows[0].spread("fd_heldout").deviation is None


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ((), "--fractions: give at least one"),
        ((0.5, 0.0), "0 is not a share of the images"),
        ((1.5,), r"1\.5 is not a share"),
        ((-0.1, 1), r"-0\.1 is not a share"),
        ((float("nan"),), "nan is not a share"),
        ((0.5, 1, 0.5), r"0\.5 is given twice"),
        ((0.001, 1), r"0\.001 of \d+ training images is less than one image; give at least 0\.0"),
        ((0.5, 0.501), r"0\.5 and 0\.501 of \d+ training images are the same \d+ images; leave one out"),
    ],
)
def test_fractions_that_make_no_study_are_refused_before_anything_is_made(
    encoded: Path, fractions: tuple[float, ...], message: str
) -> None:
    with pytest.raises(CommonCanvasError, match=message):
        study_scarcity(studied(encoded), fractions)
    assert not (encoded / "xs-scarcity").exists()


def test_a_fraction_that_leaves_out_a_source_is_refused_before_anything_is_made(encoded: Path) -> None:
    uri = str(encoded / "catalog.lance")
    parts = {
        "labelled": {"catalog": uri, "filter": "label IS NOT NULL"},
        "others": {"catalog": uri, "filter": "label IS NULL"},
    }
    mixed = studied(encoded, "--data.catalogs", json.dumps(parts))
    with pytest.raises(
        CommonCanvasError, match=r"0\.05 of 18 training images, seed 1, has no image of labelled"
    ):
        study_scarcity(mixed, (0.05, 1))
    assert not (encoded / "xs-scarcity").exists()


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (("--data.heldout_fraction", "0"), {}, r"set data\.heldout_fraction"),
        (
            ("--data.heldout_fraction", "0.01"),
            {},
            r"0 held-out images .* set data\.heldout_fraction above 0\.01",
        ),
        (("--data.fraction", "0.5"), {}, r"the study varies data\.fraction"),
        ((), {"seeds": 0}, "at least 1 seed"),
        ((), {"prompts": 1}, "2 prompts"),
    ],
)
def test_recipes_that_make_no_study_are_refused_before_anything_is_made(
    encoded: Path, words: tuple[str, ...], options: dict[str, int], message: str
) -> None:
    with pytest.raises(CommonCanvasError, match=message):
        study(encoded, *words, **options)
    assert not (encoded / "xs-scarcity").exists()


def test_only_text_to_image_recipes_are_studied(encoded: Path) -> None:
    with pytest.raises(RecipeError, match="of task autoencoder"):
        study_scarcity(recipe("xs-autoencoder", encoded), [0.5, 1])


def test_a_record_that_is_none_is_refused(folder: Path) -> None:
    (folder / "xs-scarcity").mkdir()
    (folder / "xs-scarcity" / "study.json").write_text("[]")
    with pytest.raises(TrainingError, match="not the record of a study"):
        study(folder)


@pytest.mark.slow
def test_the_command_takes_fractions_and_the_recipes_own_fields(finished: Path) -> None:
    path = finished / "own.yaml"
    path.write_text(yaml.safe_dump(studied(finished).model_dump(mode="json")))
    words = ["study", "scarcity", str(path), "--fractions", "0.5", "1", "--train.log_every", "2"]
    options = ["--prompts", str(PROMPTS), "--out", str(finished / "xs-scarcity"), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "commoncanvas", *words, *options], capture_output=True, text=True, check=True
    )
    assert [row["fraction"] for row in json.loads(done.stdout)["rows"]] == list(FRACTIONS)
    assert "scarcity.html" in done.stderr
