"""The models of an arena: their names, and where their images come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from commoncanvas.arena.blind import read_image
from commoncanvas.arena.chooser import NOISE, REAL
from commoncanvas.arena.prompts import Prompt, PromptFile
from commoncanvas.core.console import progress
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.text import clean
from commoncanvas.options.generate import DrawOptions

Place = tuple[Prompt, int]
"""A prompt, and which of its images."""


class Images(Protocol):
    """Where a model's images come from."""

    @property
    def drawing(self) -> dict[str, Any]:
        """How they are drawn; to be the same whenever more of them are."""

    def check(self, places: Sequence[Place]) -> None:
        """Raise ArenaError if an image can't be had."""

    def images(self, places: Sequence[Place]) -> Iterator[tuple[Image.Image, str | None]]:
        """The image at each place, in order, and the SHA-256 of the weights that drew it, if known."""


@dataclass(frozen=True)
class Drawn:
    """Images that a model draws; image N of each prompt has the seed `options.seed` + N."""

    model: str
    options: DrawOptions

    @property
    def drawing(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self.options).items() if name != "count"}

    def check(self, places: Sequence[Place]) -> None:
        """Nothing: any prompt can be drawn."""

    def images(self, places: Sequence[Place]) -> Iterator[tuple[Image.Image, str | None]]:
        from commoncanvas.drawing.generate import drawn
        from commoncanvas.drawing.requests import Request

        requests = [
            Request(prompt.text, replace(self.options, seed=self.options.seed + number))
            for prompt, number in places
        ]
        for image in drawn(self.model, requests, None, None):
            yield image, image.info["model_sha256"]


@dataclass(frozen=True)
class Ready:
    """Images that are in a folder already, named as the benchmark of the prompts names them."""

    folder: Path
    files: dict[Place, str]

    @property
    def drawing(self) -> dict[str, Any]:
        return {"ready": True}

    def check(self, places: Sequence[Place]) -> None:
        for place in places:
            if not (self.folder / self.files[place]).is_file():
                prompt, number = place
                raise ArenaError(
                    f"{self.folder} has no {self.files[place]}, image {number + 1} of the prompt {prompt.text!r}; "
                    "name the files by the prompts' places in their file, from 0"
                )

    def images(self, places: Sequence[Place]) -> Iterator[tuple[Image.Image, str | None]]:
        with progress("copy", len(places)) as bar:
            for place in places:
                yield read_image(self.folder / self.files[place]), None
                bar.advance()


def models_of(specs: Sequence[str], file: PromptFile, options: DrawOptions) -> dict[str, Images]:
    """The models by name. A spec is a model folder, a hub id, or a folder of ready images; NAME=... names it.

    Raises ArenaError for a name that is used twice or can't be used.
    """
    found: dict[str, Images] = {}
    for spec in specs:
        name, separator, where = spec.partition("=")
        if not separator:
            where, name = spec, Path(spec).name or Path(spec).absolute().name
        if not name or name in (NOISE, REAL) or clean(name) != name:
            raise ArenaError(f"model {spec!r} needs another name; give NAME=FOLDER")
        if name in found:
            raise ArenaError(f"two models are called {name}; give one as NAME=FOLDER")
        found[name] = _source(where, file, options)
    return found


def _source(where: str, file: PromptFile, options: DrawOptions) -> Images:
    folder = Path(where)
    if not folder.is_dir() or (folder / "model_index.json").exists():
        return Drawn(where, options)
    names = file.files(options.count)
    places = product(range(len(file.prompts)), range(options.count))
    return Ready(folder, {(file.prompts[at], number): names[at][number] for at, number in places})
