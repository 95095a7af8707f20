"""Checkpoints: a folder a step, complete or absent, from which a run goes on bit for bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import nn
from torch.optim import Optimizer

from commoncanvas.errors import TrainingError
from commoncanvas.training.ema import EMA

PREFIX = "step-"


class Checkpoints:
    """The checkpoints of one run, under `folder`, the newest `keep` of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Steps that have a complete checkpoint, ascending."""
        return sorted(
            int(path.name.removeprefix(PREFIX)) for path in self.folder.glob(f"{PREFIX}*") if path.is_dir()
        )

    def save(self, step: int, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> None:
        """Write the state after `step` steps. It appears under its name only once every byte is on disk."""
        final = self.folder / f"{PREFIX}{step:08d}"
        partial = self.folder / f"partial-{step:08d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        state = {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ema": ema.model.state_dict() if ema else None,
        }
        with (partial / "state.pt").open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        sync_folder(self.folder)
        self._prune()

    def load(self, step: int, model: nn.Module, optimizer: Optimizer, ema: EMA | None) -> None:
        """Put the state after `step` steps back into the model, the optimiser and the average."""
        path = self.folder / f"{PREFIX}{step:08d}" / "state.pt"
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, UnpicklingError) as error:
            raise TrainingError(
                f"checkpoint {path} can't be read ({' '.join(str(error).split())[:200]}); "
                "delete that folder to go on from an older one"
            ) from error
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if ema is not None:
            ema.model.load_state_dict(state["ema"])

    def _prune(self) -> None:
        for step in self.steps()[: -self.keep]:
            shutil.rmtree(self.folder / f"{PREFIX}{step:08d}", ignore_errors=True)
        for partial in self.folder.glob("partial-*"):
            shutil.rmtree(partial, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the renames in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
