"""What `evaluate --suite` measured, and how the terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import figure
from commoncanvas.core.tables import headed
from commoncanvas.core.text import counted
from commoncanvas.evaluation.fingerprint import Fingerprint
from commoncanvas.evaluation.scorers.intervals import Estimate
from commoncanvas.evaluation.scorers.scorer import Figure, ScorerInfo
from commoncanvas.evaluation.scorers.summary import Summary

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ScorerResult:
    """One scorer's figures.

    Attributes:
        unscored: images that it can't score -> why; they are in no mean.
        cut: images whose prompt it read only in part, since it is too long for it; they are in the means.
        scores: the file with the score of every image.
    """

    info: ScorerInfo
    figures: Mapping[str, Figure]
    fingerprint: Fingerprint
    summary: Summary
    scored: int
    unscored: Mapping[str, int]
    cut: int
    scores: str

    def to_dict(self) -> dict[str, Any]:
        formulas = {name: each.formula for name, each in self.figures.items()}
        means = {
            "figures": {name: each._asdict() for name, each in self.summary.figures.items()},
            "categories": {
                grouping: {
                    category: {name: each._asdict() for name, each in found.items()}
                    for category, found in categories.items()
                }
                for grouping, categories in self.summary.categories.items()
            },
            "parts": {
                grouping: {category: each._asdict() for category, each in found.items()}
                for grouping, found in self.summary.parts.items()
            },
            "macro": self.summary.macro,
        }
        return {
            "scorer": asdict(self.info),
            "formulas": formulas,
            "fingerprint": self.fingerprint.to_dict(),
            **means,
            "scored": self.scored,
            "unscored": dict(self.unscored),
            "cut": self.cut,
            "scores": self.scores,
        }


@dataclass(frozen=True, repr=False)
class SuiteResult(Printed):
    """A model's images of a benchmark's prompts, and their scores.

    Attributes:
        model_sha256: digest of the denoiser's weights.
        prompts: how many prompts were drawn; all_prompts: how many the published file has.
        images: images of each prompt, from seeds `seed`, `seed` + 1, and so on.
        settings: sampler, steps, guidance scale, height and width.
        out: the folder with everything; laid_out: the images in the benchmark's own folder form.
        authors_scorer: how the benchmark's own scorer is called on that form; "" if it has none.
    """

    model: str
    model_sha256: str
    suite: str
    prompts_file: str
    prompts_sha256: str
    prompts: int
    all_prompts: int
    images: int
    seed: int
    settings: Mapping[str, Any]
    scorers: tuple[ScorerResult, ...]
    created: str
    out: str
    laid_out: str
    authors_scorer: str

    def to_dict(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "scorers"}
        return own | {"scorers": [each.to_dict() for each in self.scorers]}

    def render(self) -> RenderableType:
        """A table for each scorer."""
        return render(self)


def render(found: SuiteResult) -> RenderableType:
    """See `SuiteResult.render`."""
    from rich.console import Group
    from rich.text import Text

    part = "" if found.prompts == found.all_prompts else f" of {found.all_prompts:,}: not the whole benchmark"
    settings = found.settings
    lines = [
        f"{found.model}: {found.suite}, {counted(found.prompts, 'prompts')}{part}, "
        f"{counted(found.images, 'images')} each from seed {found.seed}",
        f"{settings['sampler']}, {counted(settings['steps'], 'steps')}, guidance {settings['guidance_scale']:g}, "
        f"{settings['size']} pixels",
    ]
    shown: list[Any] = [*map(Text, lines)]
    for each in found.scorers:
        shown += [Text(""), *_scorer(each)]
    shown += [Text(""), Text(f"images: {found.laid_out}")]
    if found.authors_scorer:
        shown.append(Text(f"the benchmark's own scorer, where it is installed: {found.authors_scorer}"))
    return Group(*shown)


def _scorer(found: ScorerResult) -> list[Any]:
    from rich.text import Text

    info, names = found.info, list(found.figures)
    title = f"{info.kind} by {info.model}, weights {info.sha256[:12]}"
    table = headed("", *names, "prompts")
    whole = found.summary.figures
    cells = [_shown(found, name, whole[name]) for name in names]
    table.add_row("all", *cells, f"{whole[names[0]].prompts:,}", style="bold")
    for grouping, categories in found.summary.categories.items():
        table.add_row(grouping, style="dim")
        for category, means in categories.items():
            cells = [_shown(found, name, means[name]) for name in names]
            table.add_row(f"  {category}", *cells, f"{means[names[0]].prompts:,}")
        if len(categories) > 1:
            means_of = found.summary.macro[grouping]
            cells = [_value(found.figures[name], means_of[name]) for name in names]
            table.add_row("  mean of these", *cells, "")
    shown: list[Any] = [Text(title), table]
    for grouping, parts in found.summary.parts.items():
        own = headed(f"by {grouping}", "mean", "prompts")
        for category, mean in parts.items():
            own.add_row(f"  {category}", _interval(Figure(True, ""), mean), f"{mean.prompts:,}")
        shown.append(own)
    shown += [
        Text(f"{counted(count, 'images')} not scored: no {reason}")
        for reason, count in found.unscored.items()
    ]
    if found.cut:
        cut = counted(found.cut, "images")
        shown.append(Text(f"{cut} have a prompt that is too long for this scorer: it read the beginning"))
    return shown


def _shown(found: ScorerResult, name: str, mean: Estimate) -> str:
    return _interval(found.figures[name], mean)


def _interval(kind: Figure, mean: Estimate) -> str:
    if mean.low is None or mean.high is None:
        return _value(kind, mean.mean)
    low, high = (_value(kind, each).removesuffix(" %") for each in (mean.low, mean.high))
    return f"{_value(kind, mean.mean)} ({low}…{high})"


def _value(kind: Figure, value: float) -> str:
    return f"{100 * value:.1f} %" if kind.share else figure(value)
