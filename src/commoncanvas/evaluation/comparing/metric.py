"""The figures of two sets of images by name: what each needs, and what it is called on which network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.evaluation import frechet
from commoncanvas.evaluation.comparing import kernels, manifold
from commoncanvas.evaluation.comparing.bootstrap import interval
from commoncanvas.evaluation.comparing.inception_score import SPLITS, inception_score
from commoncanvas.evaluation.comparing.statistics import ImageSet
from commoncanvas.evaluation.distance_names import FRECHET, KERNEL
from commoncanvas.evaluation.networks.network import Network


@dataclass(frozen=True)
class Pair:
    """Generated images and real ones."""

    network: Network
    generated: ImageSet
    real: ImageSet

    @cached_property
    def features(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of both sets, for figures with `needs_features`."""
        assert self.generated.features is not None and self.real.features is not None
        return self.generated.features, self.real.features

    @cached_property
    def neighbourhoods(self) -> dict[str, NDArray[np.float64]]:
        return manifold.neighbourhoods(*self.features)


Measured = tuple[float, tuple[float, float] | tuple[None, None]]
"""A value and the bounds of its interval, if it has one."""


@dataclass(frozen=True)
class Metric:
    """A figure. `title` is its name on a network that `titles` doesn't have."""

    compute: Callable[[Pair], Measured]
    title: str
    better: str
    least: Callable[[int], int]
    """D -> fewest images of each set. Fewer give a number that says little of the model."""
    titles: Mapping[str, str] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    """Networks that it is defined on; empty: all."""
    needs_features: bool = True
    """Of the real images too; else mean and covariance suffice."""
    floor: int = 2
    """Images without which there is no value at all, whatever the reason."""
    one_set: bool = False
    """Whether it is of the generated images alone."""

    def on(self, network: str) -> bool:
        """Whether it is defined on the network."""
        return not self.only or network in self.only

    def name_on(self, network: str) -> str:
        return self.titles.get(network, self.title)


def _frechet(pair: Pair) -> Measured:
    a, b = pair.generated.gaussian, pair.real.gaussian
    features = pair.generated.features, pair.real.features
    if features[0] is not None and features[1] is not None:
        features = frechet.in_span(features[0], features[1])
        a, b = map(frechet.Gaussian.of, features)
    value = frechet.distance(a, b)
    moved = frechet.influences(a, b, features)
    return value, interval(value, moved, (0, np.inf)) if moved else (None, None)


def _at_infinity(pair: Pair) -> Measured:
    assert pair.generated.features is not None
    return frechet.at_infinity(pair.generated.features, pair.real.gaussian), (None, None)


def _kernel(pair: Pair) -> Measured:
    value = kernels.kid(*pair.features)
    return value, interval(value, kernels.influences(kernels.polynomial, *pair.features))


def _cmmd(pair: Pair) -> Measured:
    value = kernels.cmmd(*pair.features)
    moved = kernels.influences(kernels.gaussian, *map(kernels.unit, pair.features))
    return value, interval(value, [kernels.CMMD_SCALE * each for each in moved])


def _neighbourhood(name: str, most: float) -> Callable[[Pair], Measured]:
    def compute(pair: Pair) -> Measured:
        values = pair.neighbourhoods[name]
        mean = float(values.mean())
        return mean, interval(mean, [values], (0, most))

    return compute


def _inception_score(pair: Pair) -> Measured:
    network: Any = pair.network
    value, moved = inception_score(network.logits(pair.generated.features))
    return value, interval(value, [moved], (1, np.inf))


def _more_than_features(dimension: int) -> int:
    """Below, a covariance has directions without variance, whatever the images are."""
    return dimension + 1


INCEPTION = ("inception-v3", "inception-v3-tf1")
METRICS = {
    "fd": Metric(
        _frechet,
        "Fréchet distance",
        "lower",
        _more_than_features,
        FRECHET,
        needs_features=False,
    ),
    "fd-infinity": Metric(
        _at_infinity,
        "Fréchet distance, unbiased",
        "lower",
        lambda dimension: 2 * _more_than_features(dimension),
        {network: f"{name}-infinity" for network, name in FRECHET.items()},
        needs_features=False,
    ),
    "kd": Metric(
        _kernel,
        "Kernel distance",
        "lower",
        lambda dimension: 50,
        KERNEL,
    ),
    "cmmd": Metric(_cmmd, "CMMD", "lower", lambda dimension: 50, only=("clip-vit-l-14-336",)),
    **{
        name: Metric(
            _neighbourhood(name, most),
            name.capitalize(),
            "higher",
            lambda dimension: 100,
            floor=manifold.DENSITY_NEIGHBOURS + 1,
        )
        for name, most in (("precision", 1.0), ("recall", 1.0), ("density", np.inf), ("coverage", 1.0))
    },
    "is": Metric(
        _inception_score,
        "Inception score",
        "higher",
        lambda dimension: 1000,
        only=INCEPTION,
        floor=SPLITS,
        one_set=True,
    ),
}
"""Name in the command -> the figure. A new one is one function and one line."""
ALIASES = {"fid": ("fd", INCEPTION), "kid": ("kd", INCEPTION), "fid-infinity": ("fd-infinity", INCEPTION)}
"""Other name -> the figure, and the networks on which it has that name."""
