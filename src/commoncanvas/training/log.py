"""A run's log: JSON lines, and trackers that get the same figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError, TrainingStopped
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import one_line
from commoncanvas.training.trackers import TensorBoard, Tracked, Tracker, open_tracker


class RunLog:
    """Appends one object per logged step to `log.jsonl`; drops what a killed run wrote after `run.first_step`.

    `trackers`: names of trackers besides TensorBoard.
    """

    def __init__(self, run: Tracked, trackers: Sequence[str] = ()) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        self.path = run.folder / "log.jsonl"
        kept = [entry for entry in read_log(self.path) if entry["step"] <= run.first_step]
        replace_text(self.path, "".join(json.dumps(entry) + "\n" for entry in kept))
        self._trackers: dict[str, Tracker] = {}
        self._noted: set[str] = set()
        try:
            for name in trackers:
                self._trackers[name] = open_tracker(name, run)
        except CommonCanvasError:
            self._each_tracker(lambda tracker: tracker.close(True))
            raise
        self._trackers["tensorboard"] = TensorBoard(run)
        self._file = self.path.open("a", encoding="utf-8")

    def write(
        self,
        step: int,
        figures: dict[str, float],
        fingerprints: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Figures that are not finite are left out, because JSON has no NaN. `fingerprints`: how figures were measured,
        by their names; the entry has their digests, and `fingerprints.json` beside the log has each of them.
        """
        figures = {name: value for name, value in figures.items() if math.isfinite(value)}
        entry: dict[str, Any] = {"step": step, **figures}
        if fingerprints:
            entry["fingerprints"] = {name: each["digest"] for name, each in fingerprints.items()}
            self._note({str(each["digest"]): dict(each) for each in fingerprints.values()})
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        self._each_tracker(lambda tracker: tracker.log(step, figures))

    def _note(self, fingerprints: dict[str, dict[str, Any]]) -> None:
        """Add new fingerprints to `fingerprints.json` and to the trackers."""
        path = self.path.with_name("fingerprints.json")
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        replace_text(path, json.dumps(known | fingerprints, indent=1) + "\n")
        for digest in fingerprints.keys() - self._noted:
            self._noted.add(digest)
            note = partial(_note, f"fingerprint.{digest[:12]}", json.dumps(fingerprints[digest]))
            self._each_tracker(note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        failed = kind is not None and not issubclass(kind, TrainingStopped)
        self._each_tracker(lambda tracker: tracker.close(failed))

    def _each_tracker(self, call: Callable[[Tracker], None]) -> None:
        """Call every tracker. One that fails is not used again; the training continues, and the log has all figures."""
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:  # each tracker has its own exceptions
                del self._trackers[name]
                reason = f"{type(error).__name__}: {one_line(error)}"
                say(f"stopped logging to {name}: {reason}; {self.path} has all figures")


def _note(name: str, text: str, tracker: Tracker) -> None:
    tracker.note(name, text)


def read_log(path: Path) -> list[dict[str, float]]:
    """The entries of a `log.jsonl`, without an incomplete last line; none if there is no file."""
    if not path.exists():
        return []
    entries: list[dict[str, float]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
