"""Draw and measure a sweep: every model with every guidance scale, number of steps and sampler."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.console import progress
from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import from_anywhere, only_one, replace_text
from commoncanvas.core.text import plain_name
from commoncanvas.diffusion.sampling import check_settings, image_size
from commoncanvas.drawing.generate import completed, digest_of, sampler_of
from commoncanvas.drawing.requests import Request
from commoncanvas.engine import Engine, engine_of
from commoncanvas.evaluation.fingerprint import Fingerprint, drawn
from commoncanvas.evaluation.prompts import Prompt
from commoncanvas.evaluation.sweeps import measure
from commoncanvas.evaluation.sweeps.card import write_cards
from commoncanvas.evaluation.sweeps.prompts import HELDOUT, Wanted, heldout, record, wanted
from commoncanvas.evaluation.sweeps.reference import (
    RealImages,
    Row,
    Statistics,
    digest,
    read_reference,
)
from commoncanvas.evaluation.sweeps.result import Apart, Figure, Point, Sweep, axes_of
from commoncanvas.evaluation.sweeps.scorers import anywhere, kind_of
from commoncanvas.evaluation.sweeps.work import (
    HELD,
    PART,
    Drawing,
    Measures,
    Part,
    Reading,
    Setting,
    Subject,
    forget,
    image_file,
    options_of,
    read_arrays,
    value_file,
)
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.sweep import DEFAULTS, SweepOptions
from commoncanvas.provenance.folder import digests, trained_catalogs
from commoncanvas.provenance.record import read_provenance

RESULT = "sweep.json"
MOST_APART, SHOWN = 12, 8
"""Prompts of `Sweep.apart` and `Sweep.shown`."""


def sweep(
    models: str | Path | Sequence[str | Path],
    options: SweepOptions = DEFAULTS,
    *,
    out: str | Path = "sweep",
    catalog: str | Sequence[str] | None = None,
    engine: Engine | str = "local",
    workers: int | None = None,
    device: str = "auto",
) -> Sweep:
    """Draw the same prompts with each model and setting, measure the images, and write sweep.json into `out`.

    Images are PNG files with their settings. Those that are there are not drawn again, so a call that was stopped goes
    on, and a sweep can grow: more models, more settings, more samples. `catalog`: where the first model's catalogs are
    now, as for `evaluate`. `engine`, `workers`: see `engine_of`; with ray, `out` is a folder that all machines share.
    Raises EvaluationError, ModelError, CatalogError, EngineError, MissingExtraError.
    """
    paths = [str(models)] if isinstance(models, str | Path) else [str(each) for each in models]
    paths = [from_anywhere(each) for each in dict.fromkeys(paths)]
    moved = [catalog] if isinstance(catalog, str) else list(catalog or ())
    folder = Path(out).absolute()
    measures = Measures(tuple(map(anywhere, options.features)), tuple(map(anywhere, options.scorers)), device)
    for spec in measures.scorers:
        kind_of(spec)
    running = engine_of(engine, workers, device=device)
    forget()
    try:
        prompts, rows = _prompts(paths, options, moved)
        real = _reference(paths, options, moved, rows)
        subjects = _subjects(paths, options, device)
        if isinstance(real, RealImages) and options.reference == HELDOUT:
            real = RealImages(real.name, real.places, subjects[0].size)
        with only_one(folder):
            record(prompts, folder)
            reference = _measured_reference(folder, real, measures, running)
            _draw(folder, subjects, prompts, measures, running)
            paired = options.reference == HELDOUT
            found = _Figures(folder, subjects, prompts, measures, reference, paired).result(options)
            text = json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
            replace_text(folder / RESULT, text + "\n")
            write_cards(found, folder)
        return found
    finally:
        running.close()
        forget()


def _prompts(
    models: Sequence[str], options: SweepOptions, moved: Sequence[str]
) -> tuple[list[Wanted], list[Prompt]]:
    if options.prompts == HELDOUT:
        return heldout(models, moved, options.samples, options.seed)
    if options.reference == HELDOUT:
        raise EvaluationError(
            "the reference heldout belongs to the prompts heldout; with other prompts, give --reference, such as a "
            "folder of real images"
        )
    return wanted(options.prompts, options.samples, options.seed), []


def _reference(
    models: Sequence[str], options: SweepOptions, moved: Sequence[str], rows: Sequence[Prompt]
) -> RealImages | Statistics:
    if options.reference != HELDOUT:
        return read_reference(options.reference)
    catalogs = trained_catalogs(models[0], read_provenance(models[0]), moved)
    places = tuple(
        Row(catalogs[each.catalog].uri, catalogs[each.catalog].version, each.row_id) for each in rows
    )
    return RealImages("the prompts' held-out images", places)


def _subjects(models: Sequence[str], options: SweepOptions, device: str) -> list[Subject]:
    """The models with their settings. Raises ModelError; RecipeError for a setting that a model can't draw with."""
    subjects, names = [], _names(models)
    for path in models:
        painter, own = HELD.painter(path, device)
        painter.pipeline.scheduler = own
        recorded = (Path(path) / "provenance.json").exists()
        sample = read_provenance(path, ("recipe",))["recipe"]["sample"] if recorded else {}
        default = completed(Request("", DrawOptions()), painter.pipeline, sample).options
        assert default.guidance_scale is not None and default.steps and default.scheduler
        settings = [
            Setting(float(scale), steps, sampler)
            for scale, steps, sampler in product(
                options.guidance_scales or (default.guidance_scale,),
                options.steps or (default.steps,),
                options.samplers or (default.scheduler,),
            )
        ]
        for each in settings:
            check_settings(sampler_of(own, options_of(each)), each.guidance_scale, each.steps)
        subjects.append(
            Subject(
                path,
                names[path],
                f"{plain_name(Path(path).name)}-{_weights(path, painter.pipeline)[:12]}",
                digest_of(Path(path), painter.pipeline),
                image_size(painter.pipeline),
                tuple(dict.fromkeys(settings)),
            )
        )
    keys = Counter(each.key for each in subjects)
    if twins := [each.path for each in subjects if keys[each.key] > 1]:
        raise EvaluationError(f"{' and '.join(twins[:2])} have the same weights; give one of them")
    return subjects


def _names(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each model: its folder's, with the parent's where two are the same."""
    last = Counter(Path(path).name for path in paths)
    short = {
        path: plain_name(Path(path).name if last[Path(path).name] == 1 else "-".join(Path(path).parts[-2:]))
        for path in paths
    }
    again = Counter(short.values())
    return {
        path: name if again[name] == 1 else f"{name}-{number + 1}"
        for number, (path, name) in enumerate(short.items())
    }


def _weights(path: str, pipeline: Any) -> str:
    """A digest of all weights of a model; of a hub's, of its denoiser's."""
    if not Path(path).is_dir():
        return digest_of(Path(path), pipeline)
    return hashlib.sha256(json.dumps(digests(Path(path))).encode()).hexdigest()


@dataclass(frozen=True)
class _Reference:
    """`features` [M, D] of each network, or statistics of the one network."""

    name: str
    sha256: str
    count: int | None
    resize: str
    features: dict[str, NDArray[Any]]
    statistics: Statistics | None


def _measured_reference(
    out: Path, real: RealImages | Statistics, measures: Measures, engine: Engine
) -> _Reference:
    networks, _ = measures.load()
    if isinstance(real, Statistics):
        if len(networks) != 1:
            raise EvaluationError(
                f"reference {real.name} has the statistics of one network; give one --features, or real images"
            )
        return _Reference(real.name, real.sha256, None, "as in the statistics", {}, real)
    folder, total = out / "reference" / real.key, len(real.places)
    starts = range(0, total, PART)
    with progress("reference", total) as bar:
        for count in engine.map(Reading(folder, real, measures), range(len(starts))):
            bar.advance(count)

    def values(name: str, sha256: str) -> NDArray[Any]:
        return read_arrays(
            value_file(folder, name, sha256, start, min(start + PART, total)) for start in starts
        )

    features = {each.name: values(each.name, each.sha256) for each in networks}
    files = [bytes(row) for row in values("sha256", "")]
    return _Reference(real.name, digest(files), total, real.resize, features, None)


def _draw(
    out: Path, subjects: Sequence[Subject], prompts: Sequence[Wanted], measures: Measures, engine: Engine
) -> None:
    parts = [
        Part(number, place, start, min(start + PART, len(prompts)))
        for number, subject in enumerate(subjects)
        for place in range(len(subject.settings))
        for start in range(0, len(prompts), PART)
    ]
    files = (
        image_file(out, subject, setting, number)
        for subject in subjects
        for setting in subject.settings
        for number in range(len(prompts))
    )
    there = [file.exists() for file in files]
    with progress("sweep", len(there), completed=sum(there)) as bar:
        for each in engine.map(Drawing(out, subjects, parts, prompts, measures), range(len(parts))):
            bar.advance(each)


@dataclass(frozen=True)
class _Figures:
    """Makes figures of what lies in the sweep's folder."""

    out: Path
    subjects: Sequence[Subject]
    prompts: Sequence[Wanted]
    measures: Measures
    reference: _Reference
    paired: bool

    def result(self, options: SweepOptions) -> Sweep:
        points = tuple(
            self._point(subject, setting) for subject in self.subjects for setting in subject.settings
        )
        names = list(dict.fromkeys(name for point in points for name in point.figures))
        try:
            axes = axes_of(options.axes, names, len({point.guidance_scale for point in points}))
        except KeyError as error:
            raise EvaluationError(
                f"axes: no figure is called {error}; there are {', '.join([*names, 'guidance_scale', 'steps'])}"
            ) from error
        source = (
            options.prompts if options.prompts == HELDOUT else Path(options.prompts.rpartition(":")[2]).name
        )
        network = self.measures.load()[0][0]
        return Sweep(
            out=str(self.out),
            samples=len(self.prompts),
            source=source,
            reference=self.reference.name,
            seed=options.seed,
            shown=tuple(each.text for each in self.prompts[:SHOWN]),
            points=points,
            axes=tuple(axes),
            apart=tuple(self._apart()),
            apart_by=network.name,
        )

    def _point(self, subject: Subject, setting: Setting) -> Point:
        networks, scorers = self.measures.load()
        figures: dict[str, Figure] = {}
        for network in networks:
            features = self._values(subject, setting, network.name, network.sha256)
            mark = self._fingerprint(
                subject,
                setting,
                resize=f"drawn: {network.resize}; reference: {self.reference.resize}, then the same",
                features=network.name,
                features_sha256=network.sha256,
                reference=self.reference.name,
                reference_sha256=self.reference.sha256,
            )
            for kind, value in self._distances(network.name, features):
                figures[f"{kind}:{network.name}"] = Figure(value, None, None, mark)
        for scorer in scorers:
            scores = self._values(subject, setting, scorer.name, scorer.revision)
            mark = self._fingerprint(
                subject, setting, resize=scorer.resize, scorer=scorer.name, scorer_revision=scorer.revision
            )
            figures[scorer.name] = Figure(*measure.mean_score(scores, self._different), mark)
        folder = str(self.out / subject.key / setting.name)
        return Point(subject.name, *setting, folder, figures)

    def _distances(self, network: str, features: NDArray[Any]) -> Iterator[tuple[str, float]]:
        if min(len(features), self.reference.count or measure.LEAST) < measure.LEAST:
            raise EvaluationError(
                f"a distance needs at least {measure.LEAST} drawn and {measure.LEAST} real images; give more --samples "
                "or a larger reference"
            )
        if self.reference.statistics is not None:
            yield "fd", measure.frechet(features, self.reference.statistics)
            return
        real = self.reference.features[network]
        yield "fd", measure.frechet(features, real)
        yield "kd", measure.kernel(features, real, self.paired)

    @property
    def _different(self) -> int:
        """How many prompts there are; each has as many images."""
        return len({each.id for each in self.prompts})

    def _fingerprint(self, subject: Subject, setting: Setting, **measured: Any) -> Fingerprint:
        return drawn(
            [each.text for each in self.prompts],
            [each.seed for each in self.prompts],
            images_per_prompt=len(self.prompts) // self._different,
            sampler=setting.sampler,
            steps=setting.steps,
            guidance_scale=setting.guidance_scale,
            size=f"{subject.size} x {subject.size}",
            **measured,
        )

    def _values(self, subject: Subject, setting: Setting, name: str, sha256: str) -> NDArray[Any]:
        folder, total = self.out / subject.key / setting.name, len(self.prompts)
        return read_arrays(
            value_file(folder, name, sha256, start, min(start + PART, total))
            for start in range(0, total, PART)
        )

    def _apart(self) -> Iterator[Apart]:
        """The prompts where the models' images differ most, over the settings that all models have."""
        shared = [
            each for each in self.subjects[0].settings if all(each in one.settings for one in self.subjects)
        ]
        if len(self.subjects) < 2 or not shared:
            return
        network = self.measures.load()[0][0]
        features = [
            [self._values(subject, each, network.name, network.sha256) for each in shared]
            for subject in self.subjects
        ]
        distances = measure.apart(features)
        for number in np.argsort(-distances, kind="stable")[:MOST_APART].tolist():
            yield Apart(number, self.prompts[number].text, float(distances[number]))
