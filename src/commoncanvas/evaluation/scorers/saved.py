"""Scores of single images on disk: lines of JSON that a killed run leaves, and the next one continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commoncanvas.core.files import replace_text
from commoncanvas.evaluation.scorers.scorer import Judgement, Part


class SavedScores:
    """`path`: the first line says what scored which prompts, each other one is an image's score.

    Scores of another scorer, revision, setting or prompts file are not used: the file begins anew.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self._first = json.dumps({"scored_by": header}, ensure_ascii=False, sort_keys=True)
        lines = list(_lines(path))
        self._known: dict[tuple[str, str], Judgement] = {}
        if not lines or lines[0] != self._first:
            lines = [self._first]
        for line in lines[1:]:
            row = json.loads(line)
            self._known[row["prompt"], row["sha256"]] = _judgement(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, "".join(line + "\n" for line in lines))

    def of(self, prompt: str, sha256: str) -> Judgement | None:
        """The score of the image with this digest; None if it is not scored yet."""
        return self._known.get((prompt, sha256))

    def add(self, rows: Sequence[tuple[Mapping[str, Any], Judgement]]) -> None:
        """Append scores. A row names the image: at least prompt and sha256."""
        with self.path.open("a", encoding="utf-8") as file:
            for about, judgement in rows:
                file.write(json.dumps({**about, **asdict(judgement)}, ensure_ascii=False) + "\n")
                self._known[about["prompt"], about["sha256"]] = judgement


def _lines(path: Path) -> Iterator[str]:
    """Whole lines of a file that are JSON: a killed run may leave half a line, a power cut zeros."""
    if not path.exists():
        return
    for line in path.read_bytes().decode("utf-8", errors="replace").split("\n")[:-1]:
        with suppress(ValueError):
            json.loads(line)
            yield line


def _judgement(row: Mapping[str, Any]) -> Judgement:
    parts = tuple(Part(**part) for part in row["parts"])
    return Judgement(row["figures"], parts, row["note"], row["cut"])
