"""Options of `evaluate`, grouped by the ways to evaluate: on a model's own prompts, as a sweep, and by a suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from commoncanvas.options.scorers import ScorerOptions

SuiteName = Literal["dpg", "drawbench", "geneval", "geneval2", "gpic", "parti"]


@dataclass(frozen=True, kw_only=True)
class SettingOptions:
    """How many images are drawn, and how. For every way.

    Attributes:
        guidance_scales: classifier-free guidance, several in a sweep; 1: none; default: the model's own.
        steps: sampling steps, several in a sweep; default: the model's own.
        samples: own prompts: most prompts of each kind, default 64; sweep: images of each model and setting, default
            one a prompt, more than the prompts: a multiple; suite: most prompts, taken evenly from the whole file.
        seed: random seed that selects prompts and images; in a suite, that of each prompt's first image.
    """

    guidance_scales: Annotated[tuple[float, ...], Parameter(alias="--guidance-scale")] = ()
    steps: tuple[int, ...] = ()
    samples: int | None = None
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FeatureOptions:
    """What distances to real images are measured with.

    Attributes:
        features: feature network, NAME or NAME:WEIGHTS, several in a sweep; `commoncanvas compare --help` has their
            names; default: efficientnet-lite0.
    """

    features: tuple[str, ...] = ("efficientnet-lite0",)


@dataclass(frozen=True, kw_only=True)
class GridOptions:
    """What only a sweep has.

    Attributes:
        prompts: coco:FILE (captions_val2014.json), parti:FILE or another suite's, a text, CSV or TSV file, or heldout:
            the texts of rows that no model was trained on (the default).
        reference: a folder of real images, an .npz file with their statistics (mu, sigma), catalog:URI (its fetched
            images), or heldout: the real images of the prompts (the default).
        samplers: diffusers classes such as DDIMScheduler; default: each model's own.
        axes: curves of the page, each as X,Y, such as clip,fd or guidance_scale,kd; default: scorers against
            distances.
    """

    prompts: str = "heldout"
    reference: str = "heldout"
    samplers: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """What only a suite has.

    Attributes:
        suite: the benchmark whose prompts are drawn.
        prompts_file: the benchmark's own file or folder of prompts, as its authors publish it.
        images: images of each prompt; default: as many as the benchmark's authors draw.
    """

    suite: SuiteName | None = None
    prompts_file: str | None = None
    images: int | None = None


@dataclass(frozen=True, kw_only=True)
class SweepOptions(GridOptions, SettingOptions, FeatureOptions, ScorerOptions):
    """What a sweep draws and how it is measured. Every model draws the same prompts from the same seeds.

    The fields are those of the four groups that it consists of.
    """


@dataclass(frozen=True, kw_only=True)
class SuiteOptions(BenchmarkOptions, SettingOptions, ScorerOptions):
    """A benchmark's prompts, how they are drawn, and what scores the images.

    The fields are those of the three groups that it consists of. It takes one guidance scale and one number of steps.
    """


SETTINGS = SettingOptions()
FEATURES = FeatureOptions()
GRID = GridOptions()
BENCHMARK = BenchmarkOptions()
SWEEP = SweepOptions()
