"""Checkpoints: written beside the training, whole or not there, on a disk or in an object store."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import TrainingError
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table import storage
from commoncanvas.table.storage import Storage
from commoncanvas.training import trainer
from commoncanvas.training.checkpoints.checkpoint import Checkpoints
from commoncanvas.training.checkpoints.store import Writer
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.trainer import train
from tests.catalog.test_s3 import BUCKET, objects
from tests.training.test_trainer import losses, same_bits
from tests.training.tiny import recipe, saved, stopping_at

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.tiny import recipe
from commoncanvas.training.checkpoints.store import Writer
from commoncanvas.training.trainer import train

whole = getattr(Writer, sys.argv[3])

def killed(self, *arguments, **named):
    if self.folder == "step-00000004":
        if sys.argv[3] == "write_data":
            whole(self, *arguments, **named)
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, *arguments, **named)

setattr(Writer, sys.argv[3], killed)
train(recipe("xs-autoencoder", Path(sys.argv[1]), "--out", sys.argv[2]))
"""


@pytest.mark.parametrize("moment", ["write_data", "finish"])
@pytest.mark.slow
def test_a_run_killed_while_it_writes_goes_on_from_the_checkpoint_before(
    shapes: Catalog, tmp_path: Path, moment: str
) -> None:
    whole, out = recipe("xs-autoencoder", tmp_path), tmp_path / "killed"
    train(whole)
    words = [str(tmp_path), str(out), moment]
    assert subprocess.run([sys.executable, "-c", KILLED, *words]).returncode == -signal.SIGKILL
    kept = tmp_path / "killed-run" / "checkpoints"
    assert list((kept / "step-00000004").iterdir())
    assert [index.parent.name for index in kept.rglob("index.json")] == ["step-00000002"]
    train(recipe("xs-autoencoder", tmp_path, "--out", str(out)), resume=True)
    assert same_bits(Path(whole.out), out)
    assert sorted(path.name for path in kept.iterdir()) == ["step-00000004", "step-00000006"]


@pytest.mark.slow
def test_the_training_goes_on_while_a_checkpoint_is_written(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is written is of the step that it belongs to, whatever the weights have become."""
    later, write, step = threading.Event(), Writer.write_data, trainer.Trainer.train_step

    def waiting(self: Writer, *arguments: Any) -> Any:
        assert later.wait(30)
        return write(self, *arguments)

    def training(self: trainer.Trainer, number: int, batch: Any) -> Any:
        done = step(self, number, batch)
        if number == 2:
            later.set()
        return done

    train(recipe("xs-autoencoder", tmp_path))
    monkeypatch.setattr(Writer, "write_data", waiting)
    monkeypatch.setattr(trainer.Trainer, "train_step", training)
    train(
        recipe("xs-autoencoder", tmp_path, "--out", str(tmp_path / "slow"), "--train.keep_checkpoints", "9")
    )
    monkeypatch.undo()
    train(recipe("xs-autoencoder", tmp_path, "--out", str(tmp_path / "two"), "--train.keep_checkpoints", "9"))
    early, at_once = (saved(tmp_path / f"{run}-run/checkpoints/step-00000002") for run in ("slow", "two"))
    assert early.keys() == at_once.keys()
    assert all(early[name].equal(tensor) for name, tensor in at_once.items())


def test_a_checkpoint_that_cannot_be_written_is_named(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Writer, *arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "finish", full)
    with pytest.raises(
        TrainingError, match=r"checkpoints can't be written .*No space left on device; free space there"
    ):
        train(recipe("xs-autoencoder", tmp_path))


def test_an_index_that_cannot_be_written_is_named_with_one_remedy(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, deep: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "sync", full)
    with pytest.raises(
        TrainingError, match=r"index\.json can't be written: no space left on device; free"
    ) as failed:
        train(recipe("xs-autoencoder", tmp_path))
    assert str(failed.value).count("free space there") == 1
    assert not list(tmp_path.rglob("index.json*"))


def test_a_run_goes_on_only_where_its_checkpoints_are(vae: str, tmp_path: Path) -> None:
    before = tmp_path / "before"
    place = ("--train.checkpoints", str(before), "--out", str(tmp_path / "run"))
    with stopping_at(3):
        train(recipe("xs-autoencoder", tmp_path, *place))
    assert (before / "run.json").exists()
    for words in (place[2:], ("--train.checkpoints", str(tmp_path / "elsewhere"), *place[2:])):
        with pytest.raises(
            TrainingError, match=f"holds no checkpoint, but {before} holds those of this run; resume"
        ):
            train(recipe("xs-autoencoder", tmp_path, *words), resume=True)
    log = (tmp_path / "run-run" / "log.jsonl").read_text()
    assert len(log.splitlines()) == 4
    # Moved, they are where the run goes on, and what they are of is beside them.
    shutil.move(before, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "run.json").unlink()
    moved = ("--train.checkpoints", str(tmp_path / "elsewhere"), *place[2:])
    train(recipe("xs-autoencoder", tmp_path, *moved), resume=True)
    assert (tmp_path / "elsewhere" / "run.json").exists()
    assert same_bits(tmp_path / "xs-autoencoder", tmp_path / "run")


def test_checkpoints_below_those_of_another_run_are_not_its_own(tmp_path: Path) -> None:
    for folder in ("step-00000004", "first/step-00000008", "step-00000012.old", "step-00000016/part"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "index.json").write_text("{}")
    assert Checkpoints(str(tmp_path), 2, "run", Ranks(0, 1, torch.device("cpu"))).steps() == [4]


def test_tensors_of_every_kind_are_read_as_they_were_written(tmp_path: Path) -> None:
    state = {
        "scalar": torch.tensor(3.0),
        "count": torch.tensor(2**40),
        "empty": torch.zeros(0, 4),
        "half": torch.randn(3, 5).bfloat16(),
        "double": torch.randn(7, dtype=torch.float64),
        "flags": torch.tensor([True, False]),
        "transposed": torch.randn(4, 6).T,
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "part": torch.randn(10, 10)[2:5, ::2],
    }
    dcp.save(state, storage_writer=Writer(Storage(str(tmp_path)), "step-00000001", "run"), no_dist=True)
    read = saved(tmp_path / "step-00000001")
    assert read.keys() == state.keys()
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype and read[name].equal(tensor), name


@pytest.mark.slow
def test_auto_goes_on_in_the_precision_that_the_run_began_in(
    shapes: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "this cpu does not support bf16 natively; --train.precision auto is much faster"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    words = ("--out", str(tmp_path / "auto"))
    with stopping_at(3):
        train(recipe("xs-autoencoder", tmp_path, *words))
    assert slow not in " ".join(capsys.readouterr().err.split())
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # another machine
    train(recipe("xs-autoencoder", tmp_path, *words), resume=True)
    assert slow in " ".join(capsys.readouterr().err.split())
    train(recipe("xs-autoencoder", tmp_path, "--train.precision", "bf16"))
    assert same_bits(tmp_path / "auto", tmp_path / "xs-autoencoder")
    assert read_provenance(tmp_path / "auto")["recipe"]["train"]["precision"] == "bf16"


@pytest.mark.slow
def test_checkpoints_in_an_object_store_outlive_the_machine(shapes: Catalog, tmp_path: Path, s3: Any) -> None:
    place = ("--train.checkpoints", f"s3://{BUCKET}/runs/first")
    whole = recipe("xs-autoencoder", tmp_path)
    train(whole)
    made = recipe("xs-autoencoder", tmp_path, *place, "--out", str(tmp_path / "stored"))
    with stopping_at(4):
        train(made)
    shutil.rmtree(tmp_path / "stored-run")
    with pytest.raises(TrainingError, match=r"s3://commons/runs/first already holds checkpoints"):
        train(made)
    other = recipe("xs-autoencoder", tmp_path, *place, "--seed", "5", "--out", str(tmp_path / "other"))
    with pytest.raises(
        TrainingError,
        match=r"s3://commons/runs/first was started with other settings .* \(changed: seed\).*another train\.checkp",
    ):
        train(other, resume=True)
    # The run's own version of the catalog is beside its checkpoints too.
    shapes.dataset.delete("image_id = 'shapes:00'")
    train(made, resume=True)
    assert losses(tmp_path / "stored") == losses(Path(whole.out))[5:]
    assert same_bits(Path(whole.out), tmp_path / "stored")
    assert {key.split("/")[2] for key in objects(s3) if not key.endswith("/")} == {
        "run.json",
        "step-00000005",
        "step-00000006",
    }
