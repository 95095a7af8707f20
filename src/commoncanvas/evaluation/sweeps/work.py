"""The work of a sweep, in parts that any process can do: draw images that are missing, and measure them.

Everything is a file in the sweep's folder. A part that was stopped goes on with its next image.
Shapes: N images of a part, D features.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import replace_bytes, why
from commoncanvas.core.text import one_line, plain_name
from commoncanvas.core.version import __version__
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.drawing import png
from commoncanvas.drawing.generate import sampler_of
from commoncanvas.evaluation.networks.load import load_network
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.scorers.scorer import Scorer, load_scorer, scores_of
from commoncanvas.evaluation.sweeps.prompts import Wanted
from commoncanvas.evaluation.sweeps.reference import RealImages
from commoncanvas.images.image import decode
from commoncanvas.models.devices import pick_device
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.scorers import ScorerOptions

if TYPE_CHECKING:
    from PIL.Image import Image

PART = 64
"""Images of a part. It is as many as a GPU draws at once."""


class Setting(NamedTuple):
    """How images are drawn."""

    guidance_scale: float
    steps: int
    sampler: str

    @property
    def name(self) -> str:
        return f"guidance-{self.guidance_scale:g}-steps-{self.steps}-{self.sampler.removesuffix('Scheduler')}"


@dataclass(frozen=True)
class Subject:
    """A model of the sweep. `name`: what the sweep calls it; `key`: the name of its folder, which depends on its
    weights; `sha256`: the digest of its denoiser's weights; `size`: pixels a side.
    """

    path: str
    name: str
    key: str
    sha256: str
    size: int
    settings: tuple[Setting, ...]


class Part(NamedTuple):
    """Images `start` to `stop` of one setting of one model."""

    subject: int
    setting: int
    start: int
    stop: int


@dataclass(frozen=True)
class Measures:
    """What measures images: feature networks and scorers, by the words that load them."""

    networks: tuple[str, ...]
    scorers: ScorerOptions
    device: str

    def load(self) -> tuple[list[Network], list[Scorer]]:
        """Each once a process. Raises ModelError, EvaluationError, MissingExtraError."""
        return (
            [_network(spec, self.device) for spec in self.networks],
            [_scorer(spec, self.scorers, self.device) for spec in self.scorers.scorers],
        )


def image_file(out: Path, subject: Subject, setting: Setting, number: int) -> Path:
    return out / subject.key / setting.name / f"{number:06}.png"


def value_file(folder: Path, name: str, sha256: str, start: int, stop: int) -> Path:
    """Where the features or scores of a part are, [N, D] or [N]."""
    return folder / "measured" / f"{plain_name(name)}-{sha256[:8]}" / f"{start:06}-{stop:06}.npy"


class Drawing:
    """Part number -> how many of its images were drawn; the others were there. The part is measured afterwards."""

    def __init__(
        self,
        out: Path,
        subjects: Sequence[Subject],
        parts: Sequence[Part],
        prompts: Sequence[Wanted],
        measures: Measures,
    ) -> None:
        self.out, self.subjects, self.parts = out, subjects, parts
        self.prompts, self.measures = prompts, measures

    def __call__(self, item: int) -> int:
        part = self.parts[item]
        subject = self.subjects[part.subject]
        setting = subject.settings[part.setting]
        numbers = range(part.start, part.stop)
        infos = [info_of(subject, setting, self.prompts[number]) for number in numbers]
        paths = [image_file(self.out, subject, setting, number) for number in numbers]
        missing = [
            place
            for place, (path, info) in enumerate(zip(paths, infos, strict=True))
            if not png.has_settings(path, info)
        ]
        values = list(self._values(paths[0].parent, part))
        if missing:
            for path, _ in values:
                for old in path.parent.glob(f"{part.start:06}-*.npy"):
                    old.unlink()
            paths[0].parent.mkdir(parents=True, exist_ok=True)
            drawn = _painted(subject, setting, self.measures.device, [infos[place] for place in missing])
            for place, image in zip(missing, drawn, strict=True):
                image.info.update(infos[place])
                replace_bytes(paths[place], png.encoded(image))
        for path, measured in values:
            if not path.exists():
                images = [decode(each.read_bytes()) for each in paths]
                write_array(path, measured([self.prompts[number].prompt for number in numbers], images))
        return len(missing)

    def _values(self, folder: Path, part: Part) -> Iterator[tuple[Path, Callable[..., NDArray[Any]]]]:
        """The files of the part's features and scores, and what makes them."""
        networks, scorers = self.measures.load()
        for network in networks:
            path = value_file(folder, network.name, network.sha256, part.start, part.stop)
            yield path, lambda _, images, network=network: network(images)
        for scorer in scorers:
            path = value_file(folder, scorer.info.name, scorer.info.digest, part.start, part.stop)
            yield path, partial(scores_of, scorer)


class Reading:
    """Part number -> how many real images were measured: their features, and the digests of their files [N, 32]."""

    def __init__(self, folder: Path, real: RealImages, measures: Measures) -> None:
        self.folder, self.real, self.measures = folder, real, measures

    def __call__(self, item: int) -> int:
        start, stop = item * PART, min((item + 1) * PART, len(self.real.places))
        files = [
            (value_file(self.folder, network.name, network.sha256, start, stop), network)
            for network in self.measures.load()[0]
        ]
        digests = value_file(self.folder, "sha256", "", start, stop)
        todo = [(path, network) for path, network in files if not path.exists()]
        if not todo and digests.exists():
            return stop - start
        read = [self.real.read(number) for number in range(start, stop)]
        for path, network in todo:
            write_array(path, network([image for image, _ in read]))
        write_array(digests, np.frombuffer(b"".join(each for _, each in read), np.uint8).reshape(-1, 32))
        return stop - start


def info_of(subject: Subject, setting: Setting, prompt: Wanted) -> dict[str, Any]:
    """What the file of an image says of it; the same texts as `generate` writes."""
    return {
        "prompt": prompt.text,
        "negative_prompt": "",
        "seed": prompt.seed,
        "guidance_scale": setting.guidance_scale,
        "steps": setting.steps,
        "scheduler": setting.sampler,
        "height": subject.size,
        "width": subject.size,
        "model": Path(subject.path).name,
        "model_sha256": subject.sha256,
        "software": f"commoncanvas {__version__}",
    }


def write_array(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    replace_bytes(path, file.getvalue())


def read_arrays(paths: Iterable[Path]) -> NDArray[Any]:
    """Arrays of neighbouring parts as one. Raises EvaluationError if one is missing or broken."""
    parts = []
    for path in paths:
        try:
            parts.append(np.load(path, allow_pickle=False))
        except OSError as error:
            raise EvaluationError(
                f"{path}: {why(error)}; with --engine ray, --out must be a folder that all machines share"
            ) from error
        except ValueError as error:
            raise EvaluationError(
                f"{path}: {one_line(error)}; remove it and run the command again"
            ) from error
    return np.concatenate(parts)


class Held:
    """One model at a time: the last one is dropped before another is loaded."""

    def __init__(self) -> None:
        self._model: tuple[str, Painter, Any] | None = None

    def painter(self, path: str, device: str) -> tuple[Painter, Any]:
        """What draws with a model, and the model's own sampler. Raises ModelError."""
        if self._model is None or self._model[0] != path:
            self.drop()
            painter = Painter(load_pipeline(path).to(pick_device(device)))
            self._model = path, painter, painter.pipeline.scheduler
        return self._model[1:]

    def drop(self) -> None:
        self._model = None


HELD = Held()


@lru_cache(8)
def _network(spec: str, device: str) -> Any:
    return load_network(spec, device)


@lru_cache(8)
def _scorer(spec: str, options: ScorerOptions, device: str) -> Any:
    return load_scorer(spec, options, device)


def forget() -> None:
    """Drop all loaded models: their folders may change before the next sweep."""
    HELD.drop()
    _network.cache_clear()
    _scorer.cache_clear()


def _painted(
    subject: Subject, setting: Setting, device: str, infos: Sequence[dict[str, Any]]
) -> Iterator[Image]:
    painter, own = HELD.painter(subject.path, device)
    painter.pipeline.scheduler = sampler_of(own, options_of(setting))
    return painter.images(
        [info["prompt"] for info in infos],
        seeds=[info["seed"] for info in infos],
        guidance_scale=setting.guidance_scale,
        steps=setting.steps,
        height=subject.size,
        width=subject.size,
    )


def options_of(setting: Setting) -> DrawOptions:
    return DrawOptions(guidance_scale=setting.guidance_scale, steps=setting.steps, scheduler=setting.sampler)
