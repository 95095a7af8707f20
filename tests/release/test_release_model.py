"""A published folder is complete, can be checked and loaded by others, and names no place of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas import release_model
from commoncanvas.catalog import takedown
from commoncanvas.catalog.credits import read_credits
from commoncanvas.cli import main
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import ModelError, ReleaseError
from commoncanvas.provenance.hub import Published, license_fields, metadata
from commoncanvas.provenance.model_card import write_card
from commoncanvas.provenance.passed_on import by_others
from commoncanvas.release.check import CHECKS, check_model
from commoncanvas.release.model import command
from commoncanvas.release.model.checkpoints import chosen_steps
from commoncanvas.release.model.shareable import last_name, shareable
from tests.training.tiny import saved

UNET = "unet/diffusion_pytorch_model.safetensors"
PAPERS = {
    "EU-training-summary.md",
    "EU-training-summary.json",
    "technical-report.md",
    "plots/loss.png",
    "space/app.py",
    "space/requirements.txt",
    "space/README.md",
    "mof.yml",
    "openness.md",
    "spdx.json",
}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def released(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with checkpoints; to be read only."""
    out = tmp_path_factory.mktemp("published") / "release"
    release_model(model, out, checkpoints="all", name="ann/xs", data="ann/shapes")
    return out


def test_a_release_passes_the_check_and_the_programs_of_others(released: Path, model: Path) -> None:
    found = check_model(released, str(model.parent / "catalog.lance"))
    assert {each.check: each.verdict for each in found.findings} == dict.fromkeys(CHECKS, "ok"), found
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=released, check=True)
    named = {line.split("  ", 1)[1] for line in (released / "SHA256SUMS").read_text().splitlines()}
    assert named == set(contents(released)) - {"SHA256SUMS"}
    assert (released / UNET).read_bytes() == (model / UNET).read_bytes()
    moved = {each.check: each.verdict for each in check_model(released).findings}
    assert moved["takedowns"] == "not checked", "the catalog is not where the record says"


def test_the_answers_of_the_provider_are_in_the_documents(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["commoncanvas", "release", "about"])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    about = tmp_path / "about.yaml"
    questions = capsys.readouterr().out
    questions = questions.replace("\nversion:\n", "\nversion: 1.0\n")
    questions = questions.replace("\nlimits:\n", "\nlimits: It knows squares only.\n")
    about.write_text(questions.replace("\nprovider:\n", "\nprovider: Ann and Co\n"))
    about.write_text(about.read_text().replace("\npublished:\n", "\npublished: ann/xs\n"))
    found = release_model(model, tmp_path / "release", about=about)
    assert set(contents(tmp_path / "release")) >= PAPERS
    for name in ("EU-training-summary.md", "mof.yml", "spdx.json", "README.md", "CITATION.cff"):
        assert "Ann and Co" in (tmp_path / "release" / name).read_text(), name
    card = (tmp_path / "release/README.md").read_text()
    assert "ann/xs" in card, "the id that the answers name"
    assert "- It knows squares only." in card and "Published by Ann and Co." in card
    (unanswered,) = (line for line in found.missing if line.startswith("answers that only you"))
    assert "contact" in unanswered and "provider," not in unanswered
    assert not check_model(tmp_path / "release").problems
    with pytest.raises(ModelError, match=r"different: name, about"):
        release_model(model, tmp_path / "release")


def test_no_file_names_a_place_of_this_machine(released: Path, model: Path) -> None:
    private = [str(each).encode() for each in (model.parent, released.parent, Path.home(), Path.cwd())]
    for name, data in contents(released).items():
        assert not any(each in data for each in private), name
    assert any(private[0] in data for data in contents(model).values()), "the model itself has such places"
    assert json.loads((released / "vae/config.json").read_text())["_name_or_path"] == "xs-autoencoder"


def test_the_hubs_own_classes_accept_the_card(released: Path) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(released / "README.md")
    data = card.data.to_dict()
    assert data["license"] == "cc-by-sa-4.0" and data["datasets"] == ["ann/shapes"]
    assert data["pipeline_tag"] == "text-to-image" and "base_model" not in data
    text = card.text
    assert 'from_pretrained("ann/xs")' in text and "huggingface.co/ann/xs/discussions" in text
    assert "(https://huggingface.co/datasets/ann/shapes)" in text
    assert "draws images of its training again: not measured." in text
    assert "catalog takedown" in text and "None" not in text and "{{" not in text.replace("{{ann}}", "")


def test_the_credits_are_the_same_in_every_form(released: Path) -> None:
    stated = list(read_credits(released / "credits.csv"))
    rows = pq.read_table(released / "credits.parquet").to_pylist()
    assert [row["image_id"] for row in rows] == [each.image_id for each in stated]
    assert [row["creator"] for row in rows] == [each.creator for each in stated]
    assert all(row["credit"] == each.text() for row, each in zip(rows, stated, strict=True))
    script = (released / "credits/rows-0.js").read_text(encoding="utf-8")
    assert all(each.image_id in script for each in stated)


def test_the_recipe_trains_the_same_rows_again(released: Path, model: Path) -> None:
    recipe = load_recipe(str(released / "recipe.yaml"))
    record = json.loads((model / "provenance.json").read_text())
    (pinned,) = recipe.data.catalogs.values()
    assert (pinned.catalog, pinned.version) == ("catalog.lance", record["catalogs"]["main"]["tag"])
    again = recipe.model_dump(mode="json")
    for field in record["recipe"]:
        if field not in ("data", "out", "vae"):
            assert again[field] == record["recipe"][field], field
    assert (again["out"], again["vae"]) == ("xs", "xs-autoencoder")


def test_a_checkpoint_is_loaded_by_diffusers_with_the_weights_of_its_step(
    released: Path, model: Path
) -> None:
    from diffusers import UNet2DConditionModel

    (folder,) = (released / "checkpoints").iterdir()
    assert folder.name == "step-00000004", "the last step is the model itself"
    network = UNet2DConditionModel.from_pretrained(folder / "unet")
    tensors = saved(model.with_name("xs-run") / "checkpoints" / folder.name)
    kind = "average" if any(name.startswith("average.") for name in tensors) else "model"
    for name, tensor in network.state_dict().items():
        assert tensor.equal(tensors[f"{kind}.{name}"]), name
    record = json.loads((released / "provenance.json").read_text())
    assert list(record["checkpoints"]) == [f"checkpoints/step-00000004/{UNET}"]


def test_parts_by_others_are_passed_on_with_their_licences_text_and_authors(released: Path) -> None:
    (part,) = by_others(json.loads((released / "provenance.json").read_text()))
    text = released / "licenses" / part["role"] / "LICENSE"
    assert part["role"] == "text_encoder" and "Apache License" in text.read_text()
    stated = (released / "THIRD-PARTY.md").read_text()
    for words in ("sentence-transformers project", "(licenses/text_encoder/LICENSE)", "apache-2.0", "## vae"):
        assert words in stated, words
    for name in ("README.md", "LICENSE", "spdx.json"):
        assert "sentence-transformers project" in (released / name).read_text(), name


def test_what_is_not_known_of_a_part_is_said_and_the_provider_can_answer(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    shutil.rmtree(copy / "licenses")
    record = json.loads((copy / "provenance.json").read_text())
    (part,) = by_others(record)
    part |= {"model": "lab/encoder", "license": "unknown", "authors": "unknown", "page": None}
    (copy / "provenance.json").write_text(json.dumps(record))
    (problem,) = check_model(copy).problems
    assert problem.check == "parts"
    assert problem.details == (
        "text_encoder lab/encoder is passed on without licence and authors and text of the licence in "
        "licenses/text_encoder/",
    )
    found = release_model(copy, tmp_path / "unknown")
    (line,) = (each for each in found.missing if "encoder" in each)
    assert line.startswith(
        "the licence and the authors and the text of the licence of text encoder encoder; look"
    )
    assert (tmp_path / "unknown" / "THIRD-PARTY.md").read_text().count("unknown") == 3
    assert [each.check for each in check_model(tmp_path / "unknown").problems] == ["parts"]

    about = tmp_path / "about.yaml"
    answer = {"license": "MIT", "authors": "Ann Lee", "license_file": "mit.txt"}
    about.write_text(yaml.safe_dump({"parts": {"text_encoder": answer}}))
    with pytest.raises(ReleaseError, match=r"parts\.text_encoder\.license_file: .*mit\.txt can't be read"):
        release_model(copy, tmp_path / "release", about=about)
    (tmp_path / "mit.txt").write_text("Copyright Ann Lee\n\nPermission is granted\n")
    release_model(copy, tmp_path / "release", about=about)
    assert not check_model(tmp_path / "release").problems
    assert "by Ann Lee" in (tmp_path / "release" / "README.md").read_text()
    kept = (tmp_path / "release/licenses/text_encoder/LICENSE").read_text()
    assert kept == "Copyright Ann Lee\n\nPermission is granted\n"
    (tmp_path / "mit.txt").write_text("another")
    with pytest.raises(ModelError, match="different: about"):
        release_model(copy, tmp_path / "release", about=about)
    about.write_text(yaml.safe_dump({"parts": {"vae": answer}}))
    with pytest.raises(
        ReleaseError, match=r"parts\.vae: the model has no such part; its parts by others are: text"
    ):
        release_model(copy, tmp_path / "other", about=about)


def test_a_part_under_terms_that_the_policy_does_not_allow_is_found(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    record = json.loads((copy / "provenance.json").read_text())
    by_others(record)[0]["license"] = "cc-by-nc-4.0"
    record["recipe"]["data"]["policy"] = "commercial"
    (copy / "provenance.json").write_text(json.dumps(record))
    details = {each.check: each.details for each in check_model(copy).problems}
    assert "is under cc-by-nc-4.0, which policy commercial does not allow" in details["parts"][0]


def test_the_log_has_its_plots(released: Path) -> None:
    assert (released / "training/log.jsonl").read_text().count("\n") == 6
    for name in ("loss", "learning_rate"):
        assert (released / f"training/{name}.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("step", ["copy", "credits", "sums", "rename"])
def test_a_release_that_was_stopped_goes_on_to_the_same_files(
    model: Path, released: Path, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "release", {"checkpoints": "all", "name": "ann/xs", "data": "ann/shapes"}
    done: list[str] = []

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if step == "rename":
            patched.setattr(Path, "rename", stopped)
        else:
            real = command.STEPS[step]
            patched.setitem(command.STEPS, step, lambda job: (real(job), stopped()))  # type: ignore[func-returns-value]
        release_model(model, out, **options)  # type: ignore[arg-type]
    assert not out.exists()
    for name, real in command.STEPS.items():
        monkeypatch.setitem(
            command.STEPS, name, lambda job, name=name, real=real: (done.append(name), real(job))
        )
    release_model(model, out, **options)  # type: ignore[arg-type]
    every = list(command.STEPS)
    assert done == (every[every.index(step) :] if step in every else [])
    assert contents(out) == contents(released)
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_copy_that_was_cut_off_is_made_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(28, "No space left on device", str(target))

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr(shutil, "copyfile", full)
        release_model(model, tmp_path / "release")
    assert list(tmp_path.glob("release.partial/**/.*.part")), "half a file was left"
    release_model(model, tmp_path / "release")
    assert not check_model(tmp_path / "release").problems
    assert not list(tmp_path.glob("**/.*.part"))


def test_other_options_begin_again(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setitem(command.STEPS, "sums", stopped)
        release_model(model, tmp_path / "release", checkpoints="all", name="ann/xs")
    release_model(model, tmp_path / "release")
    assert (
        not (tmp_path / "release/checkpoints").exists() and not (tmp_path / "release/CITATION.cff").exists()
    )


def test_a_finished_release_is_found_and_another_is_not_replaced(
    model: Path, released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(released)
    (released / command.STATE).mkdir()  # stopped after the folder got its name
    again = release_model(model, released, checkpoints="all", name="ann/xs", data="ann/shapes")
    assert "is finished" in capsys.readouterr().err and contents(released) == before
    assert again.files == len(before) and again.license == "CC-BY-SA-4.0"
    assert sum(each.files for each in again.groups) == again.files
    with pytest.raises(ModelError, match=r"holds another release \(different: name, data, checkpoints\)"):
        release_model(model, released)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    for place, says in (
        (tmp_path / "mine", "is no release"),
        (model, "is the model"),
        (model.parent, "is the model or contains it"),
        (model / "release", "inside of the model"),
        (Path.cwd(), "the current folder"),
    ):
        with pytest.raises(ModelError, match=says):
            release_model(model, place)
    for wrong in ("some", "0", "-1"):
        with pytest.raises(ModelError, match="give all, none, or how many"):
            release_model(model, tmp_path / "new", checkpoints=wrong)
    with pytest.raises(ModelError, match="is no id of the hub"):
        release_model(model, tmp_path / "new", name="xs")
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.partial").exists()


def test_a_model_with_a_problem_is_not_released(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    (copy / "unet" / "weights.pt").touch()
    with pytest.raises(
        ModelError, match=r"1 check found a problem; formats: unet/weights\.pt may be a pickle"
    ):
        release_model(copy, tmp_path / "release")
    (copy / "unet" / "weights.pt").unlink()
    (tmp_path / "secret").write_text("mine")
    (copy / "notes.txt").symlink_to(tmp_path / "secret")
    found = release_model(copy, tmp_path / "release")
    assert not (tmp_path / "release" / "notes.txt").exists(), "a link leads out of the model"
    missing = "\n".join(found.missing)
    assert "training log" in missing and "commoncanvas evaluate" in missing and "--name owner/name" in missing


def test_an_image_that_was_taken_down_stops_a_release_that_was_begun(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(shutil.copytree(model.parent / "catalog.lance", tmp_path / "moved.lance"))

    def stopped(_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setitem(command.STEPS, "credits", stopped)
        release_model(model, tmp_path / "begun", catalog=place)
    release_model(model, tmp_path / "finished", catalog=place)
    rows = pq.read_table(model / "rows.parquet").to_pylist()
    gone = next(row["image_id"] for row in rows if row["split"] == "train")
    takedown(place, id=[gone], reason="asked")
    for folder in ("begun", "finished"):
        with pytest.raises(ModelError, match=f"takedowns: 1 image taken down since the training: {gone}"):
            release_model(model, tmp_path / folder, catalog=place)


@pytest.mark.slow
def test_an_evaluation_stands_in_the_hubs_forms_with_how_it_was_measured(model: Path, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard, parse_eval_result_entries

    from commoncanvas.evaluation import evaluate

    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    found = evaluate(str(copy), samples=4, steps=1, device="cpu")
    release_model(copy, tmp_path / "release", name="ann/xs", data="ann/shapes")
    entries = parse_eval_result_entries(
        yaml.safe_load((tmp_path / "release/.eval_results/commoncanvas.yaml").read_text())
    )
    measured = {each.task_id: each for each in entries}
    seen = measured["retrieval_seen"]
    assert seen.value == pytest.approx(found.seen.retrieval) and seen.dataset_id == "ann/shapes"
    assert seen.source_url == "https://huggingface.co/ann/xs/blob/main/evaluation/evaluation.json"
    assert seen.date == found.created and seen.notes
    for words in ("4 prompts", "1 steps", "DDIM", "features of efficientnet-lite0", "fingerprint "):
        assert words in seen.notes
    results = ModelCard.load(tmp_path / "release/README.md").data.eval_results
    assert results and {each.dataset_split for each in results} == {"train", "heldout"}
    (retrieval,) = (
        each for each in results if (each.metric_type, each.dataset_split) == ("retrieval", "train")
    )
    assert retrieval.metric_value == pytest.approx(found.seen.retrieval)
    assert retrieval.dataset_args and len(retrieval.dataset_args["features_sha256"]) == 64
    released = {path.name for path in (tmp_path / "release/evaluation").rglob("*")}
    assert "seen.jpg" in released and "000.png" in released and "000-real.png" not in released


@pytest.mark.parametrize("part", ["xs-autoencoder"])
def test_parts_of_models_are_released_too(model: Path, tmp_path: Path, part: str) -> None:
    found = release_model(model.parent / part, tmp_path / "release", checkpoints="1")
    assert not check_model(tmp_path / "release").problems
    assert (tmp_path / "release/checkpoints/step-00000004/diffusion_pytorch_model.safetensors").is_file()
    assert not any("figures" in each for each in found.missing)


def test_licences_that_the_hub_has_no_id_for_are_named_with_an_address() -> None:
    assert license_fields({"result_license": "CC-BY-4.0"}) == {"license": "cc-by-4.0"}
    assert license_fields({"result_license": "CC-BY-SA-1.0"}) == {
        "license": "other",
        "license_name": "cc-by-sa-1.0",
        "license_link": "https://creativecommons.org/licenses/by-sa/1.0/",
    }
    assert license_fields({"result_license": None})["license_name"] == "no-single-license"


def test_models_of_the_hub_in_the_weights_are_the_base(model: Path, tmp_path: Path) -> None:
    record = json.loads((model / "provenance.json").read_text())
    part = {"sha256": "", "license": "openrail++", "origin": None}
    record["built_on"] = [
        part | {"role": "vae", "model": "stabilityai/stable-diffusion-2"},
        part | {"role": "captioner", "model": "Salesforce/blip2-opt-2.7b"},
        part | {"role": "text_encoder", "model": "minilm"},
    ]
    found = metadata(record, None, Published())
    assert found["base_model"] == ["stabilityai/stable-diffusion-2"] and "base_model_relation" not in found
    record["built_on"].append(part | {"role": "init", "model": "ann/older"})
    assert metadata(record, None, Published())["base_model_relation"] == "finetune"
    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    (copy / "provenance.json").write_text(json.dumps(record))
    write_card(copy)
    assert "- vae: stable-diffusion-2, licence openrail++" in (copy / "README.md").read_text()


def test_the_card_says_that_training_again_needs_the_captioners_credits(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "xs"))
    assert "must be in the working folder" not in (copy / "README.md").read_text()
    record = json.loads((copy / "provenance.json").read_text())
    (vae,) = (each for each in record["built_on"] if each["role"] == "vae")
    record["built_on"].append(vae | {"role": "captioner", "model": "demo/my-captioner"})
    (copy / "provenance.json").write_text(json.dumps(record))
    write_card(copy)
    text = (copy / "README.md").read_text()
    assert "credits the images of my-captioner, which wrote captions" in text
    assert "with its `credits.csv`, must be in the working folder or beside the catalog" in text


def test_the_newest_checkpoints_are_chosen_without_the_model_itself() -> None:
    assert chosen_steps("all", [6, 2, 4], 6) == [2, 4]
    assert chosen_steps("1", [2, 4, 6], 6) == [4] and chosen_steps("9", [2, 4, 6], 6) == [2, 4]
    assert chosen_steps("none", [2, 4, 6], 6) == []


@given(st.text(), st.integers())
def test_what_is_no_place_stays_as_it_is(text: str, number: int) -> None:
    kept = {"prompts": [text], "inner": {"filter": text, "n": number}, "none": None}
    assert shareable(kept, Path()) == kept
    once = shareable({"uri": text, "anything": [text]}, Path())
    assert shareable(once, Path()) == once


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("/home/jane/cc.lance", "cc.lance"),
        ("/home/jane/cc.lance/", "cc.lance"),
        ("s3://key:secret@lab-bucket/data/cc.lance", "cc.lance"),
        ("~/models/vae", "vae"),
        (r"C:\Users\jane\cc.lance", "cc.lance"),
        ("file:///srv/cc.lance", "cc.lance"),
        ("../jane/cc.lance", "cc.lance"),
        ("cc.lance", "cc.lance"),
    ],
)
def test_a_place_becomes_its_name(place: str, name: str) -> None:
    assert last_name(place) == name
    assert shareable({"uri": place}, Path()) == {"uri": name}
    assert shareable({"prompts": [place]}, Path()) == {"prompts": [place]}
    if "s3:" not in place:
        assert shareable({"anything": [place]}, Path()) == {"anything": [name]}


def test_ids_of_the_hub_and_web_addresses_stay_without_their_secrets() -> None:
    kept = {
        "vae": "stabilityai/stable-diffusion-2",
        "url": "https://example.org/a?page=2",
        "n": 3,
        "text": "/a",
    }
    assert shareable(kept, Path()) == kept
    assert shareable({"uri": "https://jane:secret@example.org/cc.lance"}, Path()) == {
        "uri": "https://example.org/cc.lance"
    }


def test_a_folder_that_looks_like_a_hub_id_becomes_its_last_name_wherever_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs/secret-vae").mkdir(parents=True)
    record = {"model": "runs/secret-vae", "text_encoder": "lab/encoder"}
    for place in (tmp_path, tmp_path / "runs", Path("/")):
        monkeypatch.chdir(place)
        assert shareable(record, tmp_path / "runs/model") == {
            "model": "secret-vae",
            "text_encoder": "lab/encoder",
        }


def test_the_command_shows_what_is_in_the_folder_and_what_is_missing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["commoncanvas", "release", "model", str(model), "--out", str(tmp_path / "release"), "--json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"^0$"):
        main()
    found = json.loads(capsys.readouterr().out)
    assert found["name"] == "xs" and found["creators"] == 3 and found["license"] == "CC-BY-SA-4.0"
    groups = {each["name"]: each["files"] for each in found["groups"]}
    own = [path for path in model.rglob("*") if path.is_file()]
    assert groups["model"] == len(own) - 5, "the other five: card, credits, rows, provenance, a licence"
    assert groups["documents"] == 5 + len(PAPERS), "README.md, LICENSE, THIRD-PARTY.md, a licence, SHA256SUMS"
    assert any(
        line.startswith("answers that only you can give: provider, contact") for line in found["missing"]
    )
