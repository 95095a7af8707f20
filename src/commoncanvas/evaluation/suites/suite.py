"""The protocol of benchmarks, and their registry."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.reading import checked

SUITES: dict[str, str] = {
    name: f"commoncanvas.evaluation.suites.{name}"
    for name in ("dpg", "drawbench", "geneval", "geneval2", "gpic", "parti")
}
"""Name -> the module, whose SUITE it is."""

Drawn = Mapping[str, Sequence[Path]]
"""Name of a prompt -> its images, in the order of their seeds."""


@dataclass(frozen=True)
class Suite:
    """A benchmark.

    Attributes:
        images: images of a prompt that its authors draw.
        most_images: most images of a prompt that its folder form holds; None: no limit.
        read: the prompts of the published file or folder. Raises EvaluationError.
        files: the images' files in the folder form, by prompts and images a prompt, each prompt's in order; paths in
            the folder. Where one file shows several images, it is named as often.
        lay_out: writes the folder form, as the authors' scorer reads it.
        sources: the published files that `read` reads, for their digest.
        scored: how the authors' scorer is called on that folder; "" if they have none.
    """

    name: str
    images: int
    read: Callable[[Path], list[SuitePrompt]]
    files: Callable[[Sequence[SuitePrompt], int], list[list[str]]]
    lay_out: Callable[[Sequence[SuitePrompt], Drawn, Path], None]
    sources: Callable[[Path], list[Path]]
    most_images: int | None = None
    scored: str = ""

    def prompts(self, path: Path) -> list[SuitePrompt]:
        """All prompts of the published form. Raises EvaluationError."""
        if not path.exists():
            raise EvaluationError(f"prompts file {path}: there is no such file or folder")
        return checked(path, self.read(path))

    def digest(self, path: Path) -> str:
        """SHA-256 of the published file; of several, of their names and digests."""
        sources = self.sources(path)
        if sources == [path]:
            return hashlib.sha256(path.read_bytes()).hexdigest()
        lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in sources]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def load_suite(name: str) -> Suite:
    """The suite. Raises EvaluationError for an unknown name."""
    if name not in SUITES:
        raise EvaluationError(f"there is no suite {name!r}; choose one of: {', '.join(SUITES)}")
    suite: Suite = import_module(SUITES[name]).SUITE
    return suite


def one_file(path: Path) -> list[Path]:
    """The sources of a suite that is one file. Raises EvaluationError for a folder."""
    if path.is_dir():
        raise EvaluationError(f"prompts file {path} is a folder; give the published file in it")
    return [path]
