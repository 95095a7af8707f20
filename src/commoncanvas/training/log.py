"""A run's log: JSON lines, which are the record, and TensorBoard beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from commoncanvas.files import replace_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Appends one object a logged step to `log.jsonl`; a killed run's entries after `first_step` are dropped first."""

    def __init__(self, folder: Path, first_step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        kept = [entry for entry in read_log(self.path) if entry["step"] <= first_step]
        replace_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._file = self.path.open("a", encoding="utf-8")
        self._board = self._tensorboard(folder / "tensorboard", first_step)

    @staticmethod
    def _tensorboard(folder: Path, first_step: int) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=first_step + 1 if first_step else None)

    def write(self, step: int, figures: dict[str, float]) -> None:
        """What isn't finite is left out: JSON has no NaN."""
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._file.write(json.dumps({"step": step, **figures}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._board.add_scalar(name, value, step)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._board.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a `log.jsonl`, without a last line that a crash cut short; none if there is no file."""
    if not path.exists():
        return []
    entries: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
