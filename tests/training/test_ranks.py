"""Several processes, as torchrun starts them: the losses of one, from any number of them to any other."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
import torch

from commoncanvas.catalog import Catalog
from commoncanvas.config import Recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.training.distributed.ranks import Ranks, check_shares
from commoncanvas.training.log import read_log
from commoncanvas.training.trainer import train
from tests.training.test_alignment import ALIGNED
from tests.training.test_trainer import same_bits
from tests.training.test_transformer import MASKED
from tests.training.tiny import recipe, saved

FP32 = ("--train.precision", "fp32")


def start(processes: int, made: Recipe, *words: str, restarts: int = 0) -> subprocess.Popen[str]:
    """The recipe under torchrun, which starts lost processes anew so many times, or alone."""
    path = Path(made.out).with_suffix(".yaml")
    path.write_text(made.model_dump_json())  # JSON is YAML
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launch += ["--max-restarts", str(restarts), "-m"]
    command = [sys.executable, "-m", *(launch if processes > 1 else []), "commoncanvas", "train", str(path)]
    # The store of the processes before is not that of the new ones (pytorch issue 135712).
    environment = os.environ | {
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return subprocess.Popen(
        [*command, "--resume", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    return out


def losses(made: Recipe) -> dict[int, float]:
    log = read_log(Path(f"{made.out}-run") / "log.jsonl")
    return {int(entry["step"]): entry["loss"] for entry in log if "loss" in entry}


def validated(made: Recipe) -> list[float]:
    log = read_log(Path(f"{made.out}-run") / "log.jsonl")
    return [entry["validation_loss"] for entry in log if "validation_loss" in entry]


@pytest.mark.parametrize("name", [pytest.param("xs-autoencoder", marks=pytest.mark.heavy), "xs"])
@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(name: str, shapes: Catalog, tmp_path: Path) -> None:
    if name == "xs":
        train(recipe("xs-autoencoder", tmp_path))
        encode(recipe("xs", tmp_path))
    one = recipe(name, tmp_path, *FP32)
    train(one)
    two = recipe(name, tmp_path, *FP32, "--train.micro_batch", "3", "--out", str(tmp_path / f"two-{name}"))
    out = finish(start(2, two))
    assert out.count("two-") == 1
    assert losses(two) == pytest.approx(losses(one), rel=3e-5)
    assert (Path(two.out) / "provenance.json").exists()


@pytest.mark.slow
def test_machines_that_share_no_disk_are_told_so_before_a_step(shapes: Catalog, tmp_path: Path) -> None:
    """Each process has a working folder of its own, and --out is relative."""
    made = recipe("xs-autoencoder", tmp_path, "--out", "model")
    path = tmp_path / "recipe.yaml"
    path.write_text(made.model_dump_json())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []
    for rank in range(2):
        place = tmp_path / f"machine-{rank}"
        place.mkdir()
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": str(rank)}
        environment |= {"LOCAL_RANK": "0", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "commoncanvas", "train", str(path)],
                cwd=place,
                env=os.environ | environment,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in processes:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 2, said
        assert "process 1 does not see the same run in model-run as process 0;" in " ".join(said.split())
    assert not list(tmp_path.glob("machine-*/model-run/checkpoints/*"))


@pytest.mark.heavy
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_lost_step_of_several_processes_names_the_sample(
    sharding: str, shapes: Catalog, vae: str, tmp_path: Path
) -> None:
    words = ("--train.most_skipped", "0", "--train.sharding", sharding, "--data.heldout_fraction", "0")
    made = recipe("xs", tmp_path, *words)
    encode(made)
    shapes.refresh()
    (latents,) = (name for name in shapes.schema.names if name.startswith("latent") and name.endswith("16"))
    spoiled = shapes.table(["image_id", latents], "image_id = 'shapes:03'")
    values = pa.array(np.full(spoiled[latents].type.list_size, np.nan, np.float16))
    column = pa.FixedSizeListArray.from_arrays(values, type=spoiled[latents].type)
    spoiled = spoiled.set_column(1, spoiled.schema.field(latents), column)
    shapes.dataset.merge_insert("image_id").when_matched_update_all().execute(spoiled)
    process = start(2, made)
    _, said = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "(1 sample without a finite loss: shapes:03)" in " ".join(said.split()), said


@pytest.mark.heavy
@pytest.mark.parametrize("more", [ALIGNED, MASKED])
def test_two_processes_have_the_losses_of_one_with_features_or_with_patches_left_out(
    shapes: Catalog, tmp_path: Path, more: tuple[str, ...]
) -> None:
    words = (*FP32, *more)
    train(recipe("xs-autoencoder", tmp_path))
    encode(recipe("xs-captioner", tmp_path))
    encode(recipe("xs", tmp_path, *words))
    one = recipe("xs", tmp_path, *words)
    train(one)
    two = recipe("xs", tmp_path, *words, "--train.micro_batch", "3", "--out", str(tmp_path / "two"))
    finish(start(2, two))
    assert losses(two) == pytest.approx(losses(one), rel=3e-5)


@pytest.mark.heavy
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, 4)])
def test_a_run_that_stops_goes_on_with_another_number_of_processes(
    shapes: Catalog, tmp_path: Path, before: int, after: int
) -> None:
    steps = ("--train.steps", "40", "--train.checkpoint_every", "10")
    one = recipe("xs-autoencoder", tmp_path, *FP32, *steps)
    train(one)
    made = recipe("xs-autoencoder", tmp_path, *FP32, *steps, "--out", str(tmp_path / "elastic"))
    process = start(before, made)
    deadline = time.monotonic() + 120
    while not losses(made) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert 0 < max(losses(made)) < 40
    finish(start(after, made))
    assert losses(made).keys() == set(range(1, 41))
    assert losses(made) == pytest.approx(losses(one), rel=1e-3)


@pytest.mark.heavy
@pytest.mark.parametrize("lost", [0, 1])
def test_torchrun_starts_a_run_anew_whose_process_was_lost(
    shapes: Catalog, tmp_path: Path, lost: int
) -> None:
    steps = ("--train.steps", "60", "--train.checkpoint_every", "10")
    one = recipe("xs-autoencoder", tmp_path, *FP32, *steps)
    train(one)
    made = recipe("xs-autoencoder", tmp_path, *FP32, *steps, "--out", str(tmp_path / "lost"))
    process = start(2, made, restarts=1)
    deadline = time.monotonic() + 120
    while max(losses(made), default=0) < 15 and time.monotonic() < deadline:
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children()
    (worker,) = [each for each in workers if each.environ().get("RANK") == str(lost)]
    worker.kill()
    begun = max(losses(made))
    assert 15 <= begun < 60
    finish(process)
    # From the checkpoint before: what the lost process had logged after it is there once.
    assert list(losses(made)) == list(range(1, 61))
    assert losses(made) == pytest.approx(losses(one), rel=1e-3)
    assert (Path(made.out) / "provenance.json").exists()


@pytest.mark.slow
def test_a_batch_that_cannot_be_shared_is_named(shapes: Catalog, tmp_path: Path) -> None:
    made = recipe("xs-autoencoder", tmp_path, "--train.batch_size", "5")
    process = start(2, made)
    _, said = process.communicate(timeout=200)
    assert process.returncode != 0
    said = " ".join(said.split())
    assert "train.batch_size 5 can't be divided evenly among 2 processes; choose a multiple of 2" in said
    assert not Path(f"{made.out}-run").exists()


SHARDED = ("--train.sharding", "full")
HYBRID = ("--train.sharding", "hybrid", "--train.shard_ranks", "2")


def files_of(run: Path, name: str) -> set[str]:
    """Those that a tensor of the newest checkpoint is parted among."""
    index = json.loads(sorted(run.glob("checkpoints/*/index.json"))[-1].read_text())
    return {chunk["file"] for chunk in index["tensors"][name]["chunks"]}


@pytest.mark.slow
def test_shards_of_two_processes_have_the_losses_and_weights_of_one(shapes: Catalog, tmp_path: Path) -> None:
    # Every gradient is longer than this, and so clipped.
    words = (*FP32, "--train.ema_decay", "0.9", "--train.grad_clip", "0.01")
    one = recipe("xs-autoencoder", tmp_path, *words)
    train(one)
    out = ("--out", str(tmp_path / "two"))
    two = recipe("xs-autoencoder", tmp_path, *words, *SHARDED, "--train.micro_batch", "3", *out)
    finish(start(2, two))
    assert losses(two) == pytest.approx(losses(one), rel=3e-5)
    whole = saved(Path(f"{one.out}-run/checkpoints/step-00000006"))
    shards = saved(Path(f"{two.out}-run/checkpoints/step-00000006"))
    assert whole.keys() == shards.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(shards[name], tensor, rtol=1e-3, atol=1e-4)
    for name in ("model.encoder.conv_in.weight", "average.encoder.conv_in.weight"):
        assert len(files_of(Path(f"{two.out}-run"), name)) == 2


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("processes", "words"),
    [
        (4, SHARDED),
        (4, HYBRID),
        (4, (*HYBRID, "--train.reshard_after_forward", "false", "--train.micro_batch", "1")),
        (2, (*SHARDED, "--train.activation_checkpointing", "true")),
    ],
)
def test_shards_of_a_diffusion_model_have_the_losses_of_one(
    encoded: Path, tmp_path: Path, processes: int, words: tuple[str, ...]
) -> None:
    fixed = (*FP32, "--train.validate_every", "2", "--train.sample_every", "3")
    one = recipe("xs", tmp_path, *fixed)
    train(one)
    shared = recipe("xs", tmp_path, *fixed, *words, "--out", str(tmp_path / "shared"))
    finish(start(processes, shared))
    assert losses(shared) == pytest.approx(losses(one), rel=3e-5)
    assert validated(shared) == pytest.approx(validated(one), rel=1e-4)
    shards = files_of(Path(f"{shared.out}-run"), "model.conv_in.weight")
    assert len(shards) == (2 if words[:2] == HYBRID[:2] else processes)
    assert len(list(Path(f"{shared.out}-run/samples").iterdir())) == 2


@pytest.mark.heavy
@pytest.mark.parametrize(("processes", "words"), [(2, SHARDED), (4, HYBRID)])
def test_shards_that_are_compiled_have_the_losses_of_one(
    encoded: Path, tmp_path: Path, processes: int, words: tuple[str, ...]
) -> None:
    one = recipe("xs", tmp_path, *FP32)
    train(one)
    shared = recipe(
        "xs", tmp_path, *FP32, *words, "--train.compile", "true", "--out", str(tmp_path / "shared")
    )
    finish(start(processes, shared))
    assert losses(shared) == pytest.approx(losses(one), rel=1e-4)


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["xs-autoencoder", "xs"])
def test_shards_in_bf16_have_about_the_losses_of_one(name: str, shapes: Catalog, tmp_path: Path) -> None:
    if name == "xs":
        train(recipe("xs-autoencoder", tmp_path))
        encode(recipe("xs", tmp_path))
    one = recipe(name, tmp_path)
    train(one)
    two = recipe(name, tmp_path, *SHARDED, "--out", str(tmp_path / "two"))
    finish(start(2, two))
    assert losses(two) == pytest.approx(losses(one), rel=1e-2)


@pytest.mark.heavy
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_run_of_four_that_stops_goes_on_with_four_bit_for_bit(
    sharding: str, shapes: Catalog, tmp_path: Path
) -> None:
    words = ("--train.steps", "24", "--train.checkpoint_every", "4", "--train.sharding", sharding)
    whole, made = (
        recipe("xs-autoencoder", tmp_path, *FP32, *words, "--out", str(tmp_path / name))
        for name in ("whole", "stopped")
    )
    finish(start(4, whole))
    process = start(4, made)
    deadline = time.monotonic() + 120
    while not losses(made) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert 0 < max(losses(made)) < 24
    finish(start(4, made))
    assert losses(made) == losses(whole)
    assert same_bits(Path(made.out), Path(whole.out))


@pytest.mark.heavy
def test_a_run_of_four_goes_on_with_two_and_with_one(shapes: Catalog, tmp_path: Path) -> None:
    steps = ("--train.steps", "24", "--train.checkpoint_every", "4", "--train.ema_decay", "0.9")
    one = recipe("xs-autoencoder", tmp_path, *FP32, *steps)
    train(one)
    made = recipe("xs-autoencoder", tmp_path, *FP32, *steps, "--out", str(tmp_path / "elastic"))
    for processes, words in ((4, HYBRID), (2, SHARDED), (4, SHARDED)):
        before = max(losses(made), default=0)
        process = start(processes, made, *words)
        deadline = time.monotonic() + 120
        while max(losses(made), default=0) <= before and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
        assert process.returncode != 0
        assert before < max(losses(made)) < 24
    finish(start(1, made))
    assert list(losses(made)) == list(range(1, 25))
    assert losses(made) == pytest.approx(losses(one), rel=1e-3)


def test_processes_that_cannot_be_grouped_are_named(tmp_path: Path) -> None:
    made = recipe("xs", tmp_path, *HYBRID[:3], "3")
    with pytest.raises(
        RecipeError,
        match=r"shard_ranks: 4 processes can't be divided into groups of 3; .* divisor of 4",
    ):
        check_shares("xs", made.train, Ranks(0, 4, torch.device("cpu")))
