"""The three ways to evaluate: on a model's own prompts, as a sweep, and by a suite. Here: which one options ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from commoncanvas.core.errors import EvaluationError
from commoncanvas.options import evaluate as options
from commoncanvas.options.scorers import DEFAULTS as SCORERS
from commoncanvas.options.scorers import ScorerOptions

if TYPE_CHECKING:
    from commoncanvas.evaluation.result import Evaluation
    from commoncanvas.evaluation.suites.result import SuiteResult
    from commoncanvas.evaluation.sweeps.result import Sweep

SAMPLES = 64
"""Prompts of each kind for a model's own prompts."""
GROUPS = ("settings", "features", "scorers", "grid", "benchmark")
"""Fields of `Asked` that hold several options."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """All options of the command, in their groups. `html` is a page that the command writes."""

    settings: options.SettingOptions = options.SETTINGS
    features: options.FeatureOptions = options.FEATURES
    scorers: ScorerOptions = SCORERS
    grid: options.GridOptions = options.GRID
    benchmark: options.BenchmarkOptions = options.BENCHMARK
    captioner: str | None = None
    catalog: tuple[str, ...] = ()
    engine: str = "local"
    workers: int | None = None
    html: str | None = None
    out: str | None = None

    def values(self) -> dict[str, Any]:
        """Each option's value, by its name."""
        found: dict[str, Any] = {}
        for name, value in vars(self).items():
            found |= vars(value) if name in GROUPS else {name: value}
        return found

    def given(self) -> set[str]:
        """The options that are not as they are by default."""
        default = Asked().values()
        return {name for name, value in self.values().items() if value != default[name]}

    def of(self, kind: type[Any]) -> Any:
        """The options of one way: a dataclass whose fields are among the command's options."""
        values = self.values()
        return kind(**{name: values[name] for name in _names(kind)})


class Way(NamedTuple):
    """What a way is called, and the options that it takes."""

    title: str
    takes: frozenset[str]


def _names(*kinds: type[Any]) -> frozenset[str]:
    return frozenset(field.name for kind in kinds for field in fields(kind))


OWN = Way(
    "one model on its own prompts",
    _names(options.SettingOptions, options.FeatureOptions) | {"captioner", "catalog", "html", "out"},
)
SWEEP = Way("a sweep", _names(options.SweepOptions) | {"catalog", "engine", "workers", "html", "out"})
SUITE = Way("a suite", _names(options.SuiteOptions) | {"out"})
ASK_FOR_A_SWEEP = frozenset({"prompts", "reference", "samplers", "axes", "scorers"})
SEVERAL_ASK_FOR_A_SWEEP = ("guidance_scales", "steps", "features")


def evaluate_as_asked(models: Sequence[str], asked: Asked) -> Evaluation | Sweep | SuiteResult:
    """Evaluate models in the way that the options ask for.

    A suite, if one is named. A sweep, if there are several models or settings, or an option that only a sweep has.
    Else one model's own prompts. Raises EvaluationError for options that don't fit, and what the way raises.
    """
    way = _way(models, asked)
    if way is SUITE:
        from commoncanvas.evaluation.suites.command import evaluate_suite

        return evaluate_suite(models[0], asked.of(options.SuiteOptions), out=asked.out)
    if way is SWEEP:
        from commoncanvas.evaluation.sweeps.command import sweep

        return sweep(
            models,
            asked.of(options.SweepOptions),
            out=asked.out or "sweep",
            catalog=asked.catalog,
            engine=asked.engine,
            workers=asked.workers,
        )
    from commoncanvas.evaluation.command import evaluate

    settings = asked.settings
    return evaluate(
        models[0],
        catalog=asked.catalog,
        samples=SAMPLES if settings.samples is None else settings.samples,
        seed=settings.seed,
        guidance_scale=next(iter(settings.guidance_scales), None),
        steps=next(iter(settings.steps), None),
        captioner=asked.captioner,
        features=next(iter(asked.features.features)),
        out=asked.out,
    )


def _way(models: Sequence[str], asked: Asked) -> Way:
    """The way that fits. Raises EvaluationError if none does."""
    given, values = asked.given(), asked.values()
    several = [name for name in SEVERAL_ASK_FOR_A_SWEEP if len(values[name]) > 1]
    if asked.benchmark.suite is not None:
        way = SUITE
        if len(models) > 1 or several:
            many = f"several values of {_flags(several)}" if several else f"{len(models)} models"
            raise EvaluationError(
                f"a suite takes one model and one setting, not {many}; run it once for each"
            )
    elif alone := given & _names(options.BenchmarkOptions):
        raise EvaluationError(f"{_flags(alone)}: only for a suite; give --suite too")
    else:
        way = SWEEP if len(models) > 1 or several or given & ASK_FOR_A_SWEEP else OWN
    if way is SWEEP and asked.captioner is not None:
        raise EvaluationError(f"a sweep takes no --captioner; give --scorers captioner:{asked.captioner}")
    if unfit := given - way.takes:
        others = [other.title for other in (OWN, SWEEP, SUITE) if unfit <= other.takes]
        hint = f" (for {' or '.join(others)})" if others else ""
        raise EvaluationError(f"{way.title} takes no {_flags(unfit)}{hint}; leave that out")
    return way


def _flags(names: Sequence[str] | set[str] | frozenset[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))
