"""Several processes, as torchrun starts them: the losses of one, from any number of them to any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.config import Recipe
from commoncanvas.latents.encode import encode
from commoncanvas.training.log import read_log
from commoncanvas.training.trainer import train
from tests.training.test_alignment import ALIGNED
from tests.training.test_transformer import MASKED
from tests.training.tiny import recipe

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


def test_two_processes_have_the_losses_of_one(shapes: Catalog, tmp_path: Path) -> None:
    for name in ("xs-autoencoder", "xs"):
        if name == "xs":
            encode(recipe("xs", tmp_path))
        one = recipe(name, tmp_path, *FP32)
        train(one)
        two = recipe(
            name, tmp_path, *FP32, "--train.micro_batch", "3", "--out", str(tmp_path / f"two-{name}")
        )
        out = finish(start(2, two))
        assert out.count("two-") == 1
        assert losses(two) == pytest.approx(losses(one), rel=3e-5)
        assert (Path(two.out) / "provenance.json").exists()


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_batch_that_cannot_be_shared_is_named(shapes: Catalog, tmp_path: Path) -> None:
    made = recipe("xs-autoencoder", tmp_path, "--train.batch_size", "5")
    process = start(2, made)
    _, said = process.communicate(timeout=200)
    assert process.returncode != 0
    assert "train.batch_size 5 can't be shared out evenly among 2 processes" in said
    assert not Path(f"{made.out}-run").exists()
