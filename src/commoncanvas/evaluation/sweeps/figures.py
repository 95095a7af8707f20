"""The figures of a sweep, from what lies in its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.evaluation import metrics
from commoncanvas.evaluation.comparing.kernels import kid
from commoncanvas.evaluation.fingerprint import Fingerprint, drawn
from commoncanvas.evaluation.frechet import Gaussian, distance
from commoncanvas.evaluation.scorers.intervals import estimate
from commoncanvas.evaluation.sweeps.apart import apart
from commoncanvas.evaluation.sweeps.prompts import HELDOUT, Wanted
from commoncanvas.evaluation.sweeps.result import Apart, Figure, Point, Sweep
from commoncanvas.evaluation.sweeps.work import (
    PART,
    Measures,
    Setting,
    Subject,
    read_arrays,
    value_file,
)
from commoncanvas.options.evaluate import SweepOptions

MOST_APART, SHOWN = 12, 8
"""Prompts of `Sweep.apart` and `Sweep.shown`."""


@dataclass(frozen=True)
class Reference:
    """`features` [M, D] of each network, or mean and covariance of the one network's."""

    name: str
    sha256: str
    count: int | None
    resize: str
    features: dict[str, NDArray[Any]]
    gaussian: Gaussian | None


@dataclass(frozen=True)
class Figures:
    """Makes figures of what lies in the sweep's folder."""

    out: Path
    subjects: Sequence[Subject]
    prompts: Sequence[Wanted]
    measures: Measures
    reference: Reference
    paired: bool

    def sweep(self, options: SweepOptions, axes: Sequence[tuple[str, str]]) -> Sweep:
        points = tuple(
            self._point(subject, setting) for subject in self.subjects for setting in subject.settings
        )
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
            info = scorer.info
            scores = self._values(subject, setting, info.name, info.digest)
            mark = self._fingerprint(subject, setting, **info.mark())
            share = next(iter(scorer.figures.values())).share
            mean = estimate(scores.tolist(), [each.prompt.name for each in self.prompts], share)
            figures[info.name] = Figure(mean.mean, mean.low, mean.high, mark)
        folder = str(self.out / subject.key / setting.name)
        return Point(subject.name, *setting, folder, figures)

    def _distances(self, network: str, features: NDArray[Any]) -> Iterator[tuple[str, float]]:
        if self.reference.gaussian is not None:
            yield "fd", distance(Gaussian.of(features), self.reference.gaussian)
            return
        real = self.reference.features[network]
        yield "fd", metrics.frechet_distance(features, real)
        yield "kd", metrics.kernel_distance(features, real) if self.paired else kid(features, real)

    @property
    def _different(self) -> int:
        """How many prompts there are; each has as many images."""
        return len({each.prompt.name for each in self.prompts})

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
        distances = apart(features)
        for number in np.argsort(-distances, kind="stable")[:MOST_APART].tolist():
            yield Apart(number, self.prompts[number].text, float(distances[number]))
