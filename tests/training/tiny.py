"""Tiny recipes of every task over the shapes of conftest, by way of the shipped ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor

from commoncanvas.config import Recipe, load_recipe
from commoncanvas.core.errors import TrainingStopped
from commoncanvas.table.storage import Storage
from commoncanvas.training.checkpoints.store import Reader
from commoncanvas.training.task import Batch
from commoncanvas.training.trainer import Trainer

SIDES = {(16, 16): 12, (32, 8): 7, (8, 24): 5}
"""Height and width of images, which the buckets of 16 x 16 pixels in steps of 8 have as they are, and how many."""

TINY = {
    "xs-autoencoder": [
        "--size",
        "16",
        "--vae.block_out_channels",
        "[8, 8, 8]",
        "--vae.norm_num_groups",
        "4",
        "--data.heldout_fraction",
        "0",
    ],
    "xs-captioner": [
        "--feature_grid",
        "2",
        "--width",
        "32",
        "--layers",
        "1",
        "--heads",
        "2",
        "--data.heldout_fraction",
        "0",
    ],
    "xs": [
        *("--size", "16", "--text_length", "6"),
        *(
            "--unet.block_out_channels",
            "[8, 16]",
            "--unet.norm_num_groups",
            "4",
            "--unet.attention_head_dim",
            "4",
        ),
        *(
            "--sample.steps",
            "2",
            "--sample.prompts",
            "[red square, blue dot]",
            "--data.heldout_fraction",
            "0.2",
        ),
    ],
}


@contextmanager
def stopping_at(step: int, *, match: str | None = None, fraction: float = 1) -> Iterator[None]:
    """A training in it, the one at `fraction` of the rows, gets SIGTERM as step `step` begins, and stops after it."""
    whole = Trainer.train_step

    def stops(self: Trainer, number: int, batch: Batch) -> tuple[float, float, bool]:
        if number == step and self.recipe.data.fraction == fraction:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, number, batch)

    stopped = match or f"after step {step + 1} of"
    with pytest.MonkeyPatch.context() as patched, pytest.raises(TrainingStopped, match=stopped):
        patched.setattr(Trainer, "train_step", stops)
        yield


def recipe(name: str, folder: Path, *overrides: str) -> Recipe:
    """The shipped recipe `name`, made tiny: 6 steps, a checkpoint every 2, under `folder`."""
    words = [
        *(
            "--data.catalog",
            str(folder / "catalog.lance"),
            "--data.filter",
            "null",
            "--out",
            str(folder / name),
        ),
        *("--train.steps", "6", "--train.batch_size", "8", "--train.warmup_steps", "2"),
        *("--train.checkpoint_every", "2", "--train.log_every", "1", "--train.sample_every", "null"),
        *TINY[name],
    ]
    if name == "xs":
        words += ["--vae", str(folder / "xs-autoencoder")]
    return load_recipe(name, [*words, *overrides])


def saved(folder: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, whole."""
    reader = Reader(Storage(str(folder.parent)), folder.name)
    tensors = {
        name: torch.empty(tensor["size"], dtype=getattr(torch, tensor["dtype"]))
        for name, tensor in reader.index["tensors"].items()
    }
    dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors
