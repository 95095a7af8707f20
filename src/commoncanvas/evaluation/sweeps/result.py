"""What a sweep found: a point for each model and setting, with its figures. No I/O here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import figure
from commoncanvas.core.text import counted
from commoncanvas.evaluation.distance_names import FRECHET, KERNEL
from commoncanvas.evaluation.fingerprint import Fingerprint, note
from commoncanvas.evaluation.scorers.scorer import SCORERS

if TYPE_CHECKING:
    from rich.console import RenderableType

SETTINGS = ("guidance_scale", "steps", "sampler")
WORDS = {"guidance_scale": "guidance"}


@dataclass(frozen=True)
class Figure:
    """`low` and `high` bound the 95 % confidence interval, if there is one."""

    value: float
    low: float | None
    high: float | None
    fingerprint: Fingerprint


@dataclass(frozen=True)
class Point:
    """One setting of one model. `folder` has its images; figures by name, such as `fd:inception-v3`."""

    model: str
    guidance_scale: float
    steps: int
    sampler: str
    folder: str
    figures: dict[str, Figure]

    @property
    def setting(self) -> str:
        return (
            f"guidance {self.guidance_scale:g}, {self.steps} steps, {self.sampler.removesuffix('Scheduler')}"
        )

    def value(self, name: str) -> float | None:
        """A figure, or `guidance_scale` or `steps`."""
        if name in ("guidance_scale", "steps"):
            return float(getattr(self, name))
        found = self.figures.get(name)
        return found.value if found else None


@dataclass(frozen=True)
class Apart:
    """A prompt, and how far the models' images are apart: the mean cosine distance of their features."""

    number: int
    prompt: str
    distance: float


@dataclass(frozen=True, repr=False)
class Sweep(Printed):
    """A finished sweep. `shown`: the prompts of the first images; `axes`: pairs of figures whose curves are drawn."""

    out: str
    samples: int
    source: str
    reference: str
    seed: int
    shown: tuple[str, ...]
    points: tuple[Point, ...]
    axes: tuple[tuple[str, str], ...]
    apart: tuple[Apart, ...]
    apart_by: str
    """The feature network of `apart`."""

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(point.model for point in self.points))

    @property
    def names(self) -> list[str]:
        """The figures that points have."""
        return list(dict.fromkeys(name for point in self.points for name in point.figures))

    def notes(self) -> list[str]:
        """What a reader must know to read the table."""
        found = [
            f"{counted(self.samples, 'images')} of each model and setting, all from the same seeds. Prompts: "
            f"{self.source}. Real images: {self.reference}."
        ]
        sources = [title(name) for name in self.names if self.head(name) != title(name)]
        if sources:
            found.append(f"Measured by what is in brackets: {', '.join(sources)}.")
        for name in self.names:
            marks = [point.figures[name].fingerprint for point in self.points if name in point.figures]
            if said := note(marks, SETTINGS):
                found.append(f"{title(name)}: {said}")
        if any(name.startswith("fd:") for name in self.names):
            found.append(
                "A Fréchet distance falls with more images: compare only distances from the same number of images."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        points = [
            asdict(point)
            | {
                "figures": {
                    name: {
                        "value": each.value,
                        "low": each.low,
                        "high": each.high,
                        "fingerprint": each.fingerprint.to_dict(),
                    }
                    for name, each in point.figures.items()
                }
            }
            for point in self.points
        ]
        return asdict(self) | {"points": points, "notes": self.notes()}

    def settings(self) -> tuple[list[str], str]:
        """The settings that differ between points, and those that all have, in words."""
        shared = {field: {getattr(point, field) for point in self.points} for field in ("model", *SETTINGS)}
        differ = [field for field, values in shared.items() if len(values) > 1]
        first, words = self.points[0], []
        for field in shared:
            if field not in differ:
                words.append(f"{WORDS.get(field, field)} {_setting(first, field)}")
        return differ, ", ".join(words)

    def table(self) -> list[tuple[str, ...]]:
        """The header, and a line of cells for each point: settings that differ, then figures."""
        differ, _ = self.settings()
        head = (*(WORDS.get(field, field) for field in differ), *(self.head(name) for name in self.names))
        lines = [
            (
                *(_setting(point, field) for field in differ),
                *(_cell(point.figures.get(name)) for name in self.names),
            )
            for point in self.points
        ]
        return [head, *lines]

    def head(self, name: str) -> str:
        """What a column is called: without what measured it, if that is clear."""
        kind = name.partition(":")[0]
        alike = [other for other in self.names if other.partition(":")[0] == kind]
        return title(name).partition(" (")[0] if len(alike) == 1 else title(name)

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head, *lines = self.table()
        differ, shared = self.settings()
        table = Table(*head, box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
        for column in table.columns[len(differ) :]:
            column.justify = "right"
        for line in lines:
            table.add_row(*line)
        notes = map(Text, self.notes())
        return Group(Text(shared), Text(""), table, Text(""), *notes, Text(f"images: {self.out}"))


def title(name: str) -> str:
    """What people call a figure."""
    kind, _, source = name.partition(":")
    if kind in ("fd", "kd"):
        names = FRECHET if kind == "fd" else KERNEL
        return names.get(source, f"{kind.upper()} ({source})")
    if kind in SCORERS:
        return SCORERS[kind].titled(name)
    return name.replace("_", " ")


def lower_is_better(name: str) -> bool:
    return name.startswith(("fd:", "kd:"))


def axes_of(wanted: Sequence[str], names: Sequence[str], scales: int) -> list[tuple[str, str]]:
    """The pairs of figures to plot. Default: the first scorer against the first distance, and the last against the
    last; without a scorer, distances over the guidance scale, or over the steps if there is only one of `scales`.

    Raises KeyError with a word that names no figure.
    """
    if wanted:
        pairs = [each.partition(",") for each in wanted]
        return [(_named(x, names), _named(y, names)) for x, _, y in pairs]
    scorers = [name for name in names if not lower_is_better(name)]
    distances = [name for name in names if name.startswith("fd:")]
    if not scorers:
        return [("guidance_scale" if scales > 1 else "steps", each) for each in distances]
    found = [(scorers[0], distances[0]), (scorers[-1], distances[-1])]
    return list(dict.fromkeys(found))


def _named(word: str, names: Sequence[str]) -> str:
    """A figure by its name or the beginning of it."""
    known = [*names, "guidance_scale", "steps"]
    matches = [name for name in known if name == word] or [name for name in known if name.startswith(word)]
    if not word or not matches:
        raise KeyError(word)
    return matches[0]


def _setting(point: Point, field: str) -> str:
    value = getattr(point, field)
    return f"{value:g}" if isinstance(value, float) else str(value).removesuffix("Scheduler")


def _cell(found: Figure | None) -> str:
    if found is None:
        return "—"
    shown = figure(found.value)
    if found.low is None or found.high is None:
        return shown
    return f"{shown} ({figure(found.low)}–{figure(found.high)})"
