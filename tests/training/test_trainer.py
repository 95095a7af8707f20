import itertools
import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError, CommonCanvasError, ModelError, RecipeError, TrainingError
from commoncanvas.core.files import only_one
from commoncanvas.encoding.command import encode
from commoncanvas.planning.command import plan
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table.filters import save_filter
from commoncanvas.table.schema import to_batch
from commoncanvas.training import trainer
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.log import read_log
from commoncanvas.training.resume import Run
from commoncanvas.training.schedule import learning_rate_at
from commoncanvas.training.tasks.autoencoder import AutoencoderTask
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import step_seed, train
from tests.training.museum import scan
from tests.training.tiny import recipe, saved, stopping_at


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted(folder.rglob("*.safetensors")):
        found |= {f"{file.relative_to(folder)}:{name}": tensor for name, tensor in load_file(file).items()}
    return found


def same_bits(first: Path, second: Path) -> bool:
    left, right = weights(first), weights(second)
    return (
        left.keys() == right.keys()
        and bool(left)
        and all(torch.equal(left[name], right[name]) for name in left)
    )


def losses(out: Path) -> list[tuple[int, float]]:
    log = read_log(out.with_name(out.name + "-run") / "log.jsonl")
    return [(int(entry["step"]), entry["loss"]) for entry in log]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("xs-captioner", (), marks=pytest.mark.slow),
        pytest.param("xs-autoencoder", (), marks=pytest.mark.slow),
        ("xs", ()),
        ("xs-autoencoder", ("--data.shuffle.block", "3", "--data.shuffle.buffer", "13")),
    ],
)
def test_a_stopped_and_resumed_run_has_the_losses_and_weights_of_one_never_stopped(
    vae: str, tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    encode(recipe(name, tmp_path, *words))
    words = (*words, "--train.sample_every", "3")
    whole = recipe(name, tmp_path, *words, "--out", str(tmp_path / "whole"))
    parted = recipe(name, tmp_path, *words, "--out", str(tmp_path / "parted"))
    train(whole)

    for step in (1, 4):  # off and on a checkpoint
        with stopping_at(step):
            train(parted, resume=True)
    assert train(parted, resume=True) == tmp_path / "parted"

    assert losses(Path(whole.out)) == losses(Path(parted.out))
    assert len(losses(Path(whole.out))) == 6
    assert same_bits(Path(whole.out), Path(parted.out))
    assert list((tmp_path / "whole-run" / "samples").glob("*.png"))


KILLED = """
import sys
from pathlib import Path
from typing import Any
from tests.training.tiny import recipe
from commoncanvas.training.trainer import train
train(recipe("xs-autoencoder", Path(sys.argv[1]), "--out", sys.argv[2], "--train.steps", "30"), resume=True)
"""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(shapes: Catalog, tmp_path: Path) -> None:
    train(recipe("xs-autoencoder", tmp_path, "--out", str(tmp_path / "whole"), "--train.steps", "30"))
    out = tmp_path / "killed"
    run = out.with_name("killed-run")
    reached = 0
    for tries in range(40):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(out)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        # Kill once it got on by a few steps, at no particular place within them.
        while child.poll() is None and len(read_log(run / "log.jsonl")) < reached + 9:
            assert time.monotonic() < deadline
            time.sleep(0.003 * (tries % 7))
        child.kill()
        if child.wait() == 0:
            break
        reached = len(read_log(run / "log.jsonl"))
    assert tries > 1
    assert same_bits(tmp_path / "whole", out)
    assert losses(tmp_path / "whole") == losses(out)


def test_an_existing_run_is_not_overwritten_without_resume(vae: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--resume"):
        train(recipe("xs-autoencoder", tmp_path))


def test_a_folder_that_holds_something_else_is_never_written_over(shapes: Catalog, tmp_path: Path) -> None:
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "love.txt").write_text("mine")
    for resume in (False, True):
        with pytest.raises(TrainingError, match="letters already exists"):
            train(recipe("xs-autoencoder", tmp_path, "--out", str(letters)), resume=resume)
    assert (letters / "love.txt").read_text() == "mine"


def test_a_run_that_is_going_on_is_not_joined_by_another(shapes: Catalog, tmp_path: Path) -> None:
    with (
        only_one(tmp_path / "xs-autoencoder-run"),
        pytest.raises(CommonCanvasError, match="xs-autoencoder-run is in use"),
    ):
        train(recipe("xs-autoencoder", tmp_path), resume=True)


def test_a_run_goes_on_from_a_moved_catalog(vae: str, tmp_path: Path) -> None:
    (tmp_path / "catalog.lance").rename(tmp_path / "moved.lance")
    moved = recipe("xs-autoencoder", tmp_path, "--data.catalog", str(tmp_path / "moved.lance"))
    assert train(moved, resume=True) == tmp_path / "xs-autoencoder"


@pytest.mark.slow
def test_a_model_of_another_vae_is_not_called_finished(encoded: Path, tmp_path: Path) -> None:
    train(recipe("xs", tmp_path))
    seed = ["--seed", "18", "--out", str(tmp_path / "second" / "xs-autoencoder")]
    other = ["--vae", str(train(recipe("xs-autoencoder", tmp_path, *seed)))]
    encode(recipe("xs", tmp_path, *other, "--data.catalog", str(tmp_path / "catalog.lance")), overwrite=True)
    # The run sees its own version of the catalog, in which the first VAE made the latents.
    with pytest.raises(
        TrainingError, match=r"latent_xs_autoencoder_16 .* but the recipe needs it by .*second"
    ):
        train(recipe("xs", tmp_path, *other), resume=True)
    assert train(recipe("xs", tmp_path, *other, "--out", str(tmp_path / "anew"))).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"training": 1}'])
def test_a_folder_with_somebody_elses_record_is_left_alone(
    shapes: Catalog, tmp_path: Path, content: str
) -> None:
    out = tmp_path / "xs-autoencoder"
    out.mkdir()
    (out / "provenance.json").write_text(content)
    with pytest.raises(TrainingError, match="already exists, but was not made by this recipe"):
        train(recipe("xs-autoencoder", tmp_path))
    (tmp_path / "xs-autoencoder-run").mkdir(exist_ok=True)
    (tmp_path / "xs-autoencoder-run" / "run.json").write_text(content)
    with pytest.raises(TrainingError, match="is not the record of a run"):
        train(recipe("xs-autoencoder", tmp_path), resume=True)


def test_a_grid_is_drawn_before_the_checkpoint_that_it_belongs_to(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, a run that goes on must draw it still."""

    def killed(self: trainer.Trainer) -> None:
        raise KeyboardInterrupt

    grids = ["--train.sample_every", "2"]
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(trainer.Trainer, "_save", killed)
        train(recipe("xs-autoencoder", tmp_path, *grids))
    train(recipe("xs-autoencoder", tmp_path, *grids), resume=True)
    drawn = sorted(path.name for path in (tmp_path / "xs-autoencoder-run" / "samples").iterdir())
    assert drawn == [f"step-{step:08}.png" for step in (2, 4, 6)]


def test_resuming_with_another_recipe_names_what_changed(shapes: Catalog, tmp_path: Path) -> None:
    started = recipe("xs-autoencoder", tmp_path)
    Run(started, resume=False).begin(make_task(started))
    with pytest.raises(TrainingError, match=r"changed: train\.learning_rate"):
        train(recipe("xs-autoencoder", tmp_path, "--train.learning_rate", "0.1"), resume=True)


@pytest.mark.parametrize("file", ["index.json", "*.bin"])
@pytest.mark.parametrize("damage", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(
    shapes: Catalog, tmp_path: Path, file: str, damage: bytes | None
) -> None:
    started = recipe("xs-autoencoder", tmp_path)
    run, task = Run(started, resume=True), make_task(started)
    run.begin(task)
    made = trainer.Trainer(run.recipe, run, task, Ranks(0, 1, torch.device("cpu")))
    made.share()
    made._save()
    made.checkpoints.close()
    (state,) = (tmp_path / "xs-autoencoder-run").rglob(file)
    state.write_bytes(state.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"step-00000000 can't be read .* delete that folder"):
        train(started, resume=True)


def test_a_finished_run_is_left_alone(shapes: Catalog, tmp_path: Path) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path))
    before = (folder / "provenance.json").stat().st_mtime_ns
    assert train(recipe("xs-autoencoder", tmp_path), resume=True) == folder
    assert (folder / "provenance.json").stat().st_mtime_ns == before


def test_rows_that_arrive_during_a_run_do_not_change_it(shapes: Catalog, tmp_path: Path) -> None:
    folder = train(recipe("xs-autoencoder", tmp_path))
    record = json.loads((folder / "provenance.json").read_text())
    assert (
        Catalog.open(tmp_path / "catalog.lance").tags()[record["catalogs"]["main"]["tag"]]
        == record["catalogs"]["main"]["version"]
    )
    assert record["rows"]["train"] == 24
    assert record["licenses"] == {"CC-BY-4.0": 8, "CC-BY-SA-4.0": 8, "CC0-1.0": 8}
    assert record["result_license"] == "CC-BY-SA-4.0"
    assert len(pq.read_table(folder / "rows.parquet")) == 24


def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(shapes: Catalog, tmp_path: Path) -> None:
    wild = ["--train.learning_rate", "1e12", "--train.grad_clip", "null", "--train.log_every", "100"]
    with pytest.raises(TrainingError, match="start again with another --out"):
        train(recipe("xs-autoencoder", tmp_path, *wild))
    for index in (tmp_path / "xs-autoencoder-run").rglob("index.json"):
        assert all(tensor.isfinite().all() for tensor in saved(index.parent).values())


def broken(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """Losses of these steps are not numbers."""
    loss, seen = AutoencoderTask.loss, itertools.count()

    def wrong(self: AutoencoderTask, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        is_step = torch.is_grad_enabled()
        return loss(self, model, batch) * (float("nan") if is_step and next(seen) in steps else 1.0)

    monkeypatch.setattr(AutoencoderTask, "loss", wrong)


@pytest.mark.slow
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the checkpoint that is due after it, and be it the last one."""
    broken(monkeypatch, {3, 5})
    made = recipe(
        "xs-autoencoder", tmp_path, "--train.checkpoint_every", "1", "--train.keep_checkpoints", "9"
    )
    train(made)
    entries = read_log(tmp_path / "xs-autoencoder-run" / "log.jsonl")
    assert [entry["skipped"] for entry in entries] == [0, 0, 0, 1, 0, 1]
    assert not {"loss", "loss_max"} & entries[3].keys()
    assert all(
        0 < entry["mfu"] < 1 and 0 <= entry["data_wait"] <= 1 and entry["peak_memory_gb"] > 0.1
        for entry in entries
    )
    folders = {
        path.parent.name: path.parent for path in (tmp_path / "xs-autoencoder-run").rglob("index.json")
    }
    assert sorted(folders) == [f"step-0000000{step}" for step in (1, 2, 3, 4, 5, 6)]
    for skipped, before in ((4, 3), (6, 5)):
        same, other = (saved(folders[f"step-0000000{step}"]) for step in (skipped, before))
        assert all(torch.equal(same[name], other[name]) for name in other)
    assert (tmp_path / "xs-autoencoder" / "provenance.json").exists()


def test_steps_that_stay_not_finite_stop_the_run_with_their_samples(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, {0, 2, 3, 4})
    with pytest.raises(
        TrainingError,
        match=r"at step 5; not finite for 3 steps in a row \(each sample alone has a finite loss; "
        r"the first ones: .* shapes:\d+, .*, \.\.\.\).*rate",
    ):
        train(recipe("xs-autoencoder", tmp_path, "--train.most_skipped", "2"))


def test_a_sample_that_is_not_finite_is_named(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = AutoencoderTask.batch
    wanted = "shapes:05"

    def spoiled(self: AutoencoderTask, table: pa.Table, *draws: Any) -> Any:
        found = batch(self, table, *draws)
        places = [place for place, one in enumerate(table["image_id"].to_pylist()) if one == wanted]
        return {
            name: tensor.float().index_fill(0, torch.tensor(places, dtype=torch.long), float("nan"))
            for name, tensor in found.items()
        }

    monkeypatch.setattr(AutoencoderTask, "batch", spoiled)
    monkeypatch.setattr(AutoencoderTask, "columns", property(lambda _: ("image", "image_id")))
    with pytest.raises(TrainingError, match=rf"\(1 sample without a finite loss: {wanted}\)"):
        train(recipe("xs-autoencoder", tmp_path, "--train.most_skipped", "0"))


def test_what_only_changes_the_memory_that_it_takes_may_change_on_resuming(
    shapes: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs-autoencoder", tmp_path)
    with stopping_at(3):
        train(made)
    words = ("--train.micro_batch", "2", "--train.activation_checkpointing", "true")
    train(recipe("xs-autoencoder", tmp_path, *words), resume=True)
    assert [step for step, _ in losses(Path(made.out))] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_a_tag_of_a_filter_says_which_rows_and_they_are_read_as_they_are_at_the_start(
    shapes: Catalog, tmp_path: Path
) -> None:
    save_filter(shapes, "c-v1", "label IS NULL OR label <> 'red circle'")
    there = set(shapes.table(["image_id"], "label IS NULL OR label <> 'red circle'")["image_id"].to_pylist())
    assert len(there) == len(shapes) - 1
    train(recipe("xs-autoencoder", tmp_path))

    def later(image_id: str) -> None:
        shapes.refresh()
        shapes.add([to_batch([scan(image_id, "pink", "dot", creator="a latecomer")])])
        encode(recipe("xs", tmp_path, "--data.text", "[label, title]"))

    later("late:1")
    made = recipe("xs", tmp_path, "--data.tag", "c-v1", "--data.text", "[label, title]")
    with stopping_at(3):
        train(made)
    later("late:2")
    train(made, resume=True)
    out = Path(made.out)
    assert set(pq.read_table(out / "rows.parquet")["image_id"].to_pylist()) == there
    assert "a latecomer" not in (out / "credits.csv").read_text()
    assert read_provenance(out)["catalogs"]["main"]["version"] > shapes.tags()["c-v1"]
    (planned,) = plan(made, device="v100").phases
    assert planned.images == len(there)
    shapes.delete_tag("c-v1")
    with pytest.raises(CatalogError, match="has the filter c-v1, but its tag was deleted"):
        train(recipe("xs", tmp_path, "--data.tag", "c-v1", "--out", str(tmp_path / "again")))


def test_a_version_from_before_the_latents_is_told_from_the_newest(shapes: Catalog, encoded: Path) -> None:
    shapes.tag("early")
    for version in ("early", str(shapes.version)):
        with pytest.raises(
            TrainingError, match=r"no column latent_.* newest version, \d+, has it: leave data\.version out"
        ):
            train(recipe("xs", encoded, "--data.version", version))


def test_a_run_that_not_all_processes_see_alike_is_refused(shapes: Catalog, tmp_path: Path) -> None:
    run = Run(recipe("xs-autoencoder", tmp_path), resume=False)
    run.check_same_run([("one", False)] * 3)
    with pytest.raises(
        TrainingError,
        match=r"process 2 does not see the same run in .* as process 0; .* a disk that all machines share",
    ):
        run.check_same_run([("one", False), ("one", False), (None, False)])


def test_the_validation_loss_is_of_the_same_noise_each_time(encoded: Path, tmp_path: Path) -> None:
    still = ("--train.learning_rate", "1e-20", "--train.weight_decay", "0", "--train.validate_every", "2")
    train(recipe("xs", tmp_path, *still))
    found = [
        entry["validation_loss"]
        for entry in read_log(tmp_path / "xs-run" / "log.jsonl")
        if "validation_loss" in entry
    ]
    assert len(found) == 3
    assert found == pytest.approx([found[0]] * 3, rel=1e-6)
    with pytest.raises(RecipeError, match="validate_every needs held-out rows"):
        train(recipe("xs", tmp_path, *still, "--data.heldout_fraction", "0", "--out", str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sample.scheduler", "DDMIScheduler"], "no scheduler 'DDMIScheduler'"),
        (
            ["--noise.schedule.prediction_type", "v-prediction"],
            "prediction_type 'v-prediction' must be one of",
        ),
        (["--noise.schedule.typo", "1"], "not a configuration of DDPMScheduler"),
        (["--noise.schedule.beta_schedule", "cosine"], "not a configuration of DDPMScheduler"),
        (["--sample.steps", "2000"], "2000 sampling steps: give 1 to 1000"),
    ],
)
def test_a_wrong_sampler_or_schedule_is_named_before_the_training(
    encoded: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(recipe("xs", tmp_path, *words))
    assert not (tmp_path / "xs-run").exists()


def test_a_vae_whose_latents_cannot_be_normalised_is_named(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="use_quant_conv"):
        train(recipe("xs-autoencoder", tmp_path, "--vae.use_quant_conv", "false"))


def test_a_size_that_the_vae_cannot_halve_is_named(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="image size 18 is not a multiple of the VAE's downsampling factor 4"
    ):
        train(recipe("xs-autoencoder", tmp_path, "--size", "18"))


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [
        ("xs-autoencoder", ["--vae.latent_channels", "0"], "vae can't be run"),
        ("xs-autoencoder", ["--vae.norm_num_groups", "7"], "not a configuration of AutoencoderKL"),
        ("xs", ["--unet.block_out_channels", "[8]"], "not a configuration of UNet2DConditionModel"),
        ("xs", ["--unet.cross_attention_dim", "7"], "unet can't be run"),
        ("xs", ["--train.device", "cuda:7"], "device 'cuda:7' can't be used"),
    ],
)
def test_a_network_that_cannot_be_run_is_named_and_leaves_no_run_behind(
    encoded: Path, name: str, words: list[str], says: str
) -> None:
    with pytest.raises(CommonCanvasError, match=says):
        train(recipe(name, encoded, *words, "--out", str(encoded / "made")))
    assert not (encoded / "made-run").exists()


def test_a_missing_column_names_the_stage_to_run(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="efficientnet_lite0_2"):
        train(recipe("xs-captioner", tmp_path))


def test_learning_rate_warms_up_and_decays_to_zero() -> None:
    config = recipe("xs", Path("x"), "--train.steps", "100", "--train.warmup_steps", "10").train
    rates = [learning_rate_at(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(config.learning_rate / 10)
    assert max(rates) == pytest.approx(config.learning_rate)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(earlier >= later for earlier, later in pairwise(rates[10:]))


def test_a_trapezoid_stays_up_and_goes_down_in_a_line_over_its_last_share() -> None:
    words = ("--train.steps", "100", "--train.warmup_steps", "10", "--train.schedule", "trapezoid")
    config = recipe("xs", Path("x"), *words, "--train.cooldown", "0.25", "--train.learning_rate", "1").train
    rates = [learning_rate_at(step, config) for step in range(101)]
    assert rates[9:76] == [1.0] * 67
    assert rates[75:] == pytest.approx([step / 25 for step in range(25, -1, -1)])


def test_a_trapezoid_without_room_to_stay_up_goes_down_from_the_warm_up() -> None:
    words = ("--train.steps", "100", "--train.warmup_steps", "40", "--train.schedule", "trapezoid")
    config = recipe("xs", Path("x"), *words, "--train.cooldown", "0.9", "--train.learning_rate", "1").train
    rates = [learning_rate_at(step, config) for step in range(101)]
    assert rates[39:] == pytest.approx([1.0] + [step / 60 for step in range(60, -1, -1)])


def test_neighbouring_steps_and_seeds_draw_unrelated_numbers() -> None:
    assert len({step_seed(seed, step) for seed in range(20) for step in range(20)}) == 400
