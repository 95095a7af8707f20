"""The results of a study of scarcity: a point for each trained model, and means for each fraction. No I/O here."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.text import counted
from commoncanvas.evaluation.fingerprint import Fingerprint, note

if TYPE_CHECKING:
    from rich.console import RenderableType

Figures = dict[str, float | int | None]


@dataclass(frozen=True)
class Point:
    """One trained model. `creators`: number of creators of its training images. `epochs`: samples seen for each
    training image. `figures`: see `Evaluation.figures`.
    """

    fraction: float
    seed: int
    images: int
    creators: int
    epochs: float
    model: str
    evaluation: str
    figures: Figures
    fingerprint: Fingerprint | None = None
    """How the figures of held-out prompts were measured."""


@dataclass(frozen=True)
class Spread:
    """A figure's mean and sample standard deviation over the seeds of a fraction. One seed has no deviation."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Row:
    """A fraction with a point for each seed. `creators` is a mean, because each seed draws other images."""

    fraction: float
    images: int
    creators: float
    epochs: float
    points: tuple[Point, ...]

    def spread(self, figure: str) -> Spread | None:
        """The figure over all points; None if a point lacks it."""
        values = [value for point in self.points if (value := point.figures.get(figure)) is not None]
        if len(values) < len(self.points):
            return None
        return Spread(mean(values), stdev(values) if len(values) > 1 else None)

    def interval(self) -> tuple[float, float] | None:
        """The interval of held-out retrieval: mean ± standard deviation of the seeds, or with one seed the 95 %
        confidence interval of the prompts.
        """
        found = self.spread("retrieval_heldout")
        if found is None:
            return None
        if found.deviation is not None:
            return found.mean - found.deviation, found.mean + found.deviation
        figures = self.points[0].figures
        return float(figures["retrieval_low_heldout"] or 0), float(figures["retrieval_high_heldout"] or 0)


@dataclass(frozen=True, repr=False)
class Scarcity(Printed):
    """The study so far, in `folder`. `seeds`: of each fraction when it is finished; `images`: of fraction 1."""

    folder: str
    recipe: str
    catalogs: dict[str, dict[str, str | int]]
    """`uri` and `version` of each catalog, by name."""
    images: int
    steps: int
    batch_size: int
    seeds: int
    trainings: int
    points: tuple[Point, ...]
    parts: tuple[str, ...]
    """Trained models that each point is built on. The fraction doesn't limit the images that they saw."""

    @property
    def rows(self) -> list[Row]:
        """A row for each fraction that has a point, the smallest first."""
        return [self._row(fraction) for fraction in sorted({point.fraction for point in self.points})]

    @property
    def finished(self) -> bool:
        return len(self.points) == self.trainings

    def held_out(self, figure: str) -> float | None:
        """A figure that is the same for all points because it doesn't depend on the model: a floor, or chance."""
        found = [point.figures.get(f"{figure}_heldout") for point in self.points]
        return found[0] if found else None

    def notes(self) -> list[str]:
        """What a reader must know to read the table."""
        floor, noise = self.held_out("fd_reconstruction"), self.held_out("fd_noise")
        prompts, chance = self.held_out("prompts"), self.held_out("retrieval_chance")
        notes = []
        if floor is not None and noise is not None:
            notes.append(
                f"FD held-out: the autoencoder alone has {floor:.1f}, the best possible; noise has {noise:.1f}. With "
                f"{prompts} images FD is biased upwards: compare it only within this table."
            )
        if chance is not None:
            notes.append(
                f"Retrieval held-out: the same {prompts} prompts for all; chance is {chance:.1%}; "
                + ("± is the deviation between seeds." if self.seeds > 1 else "in brackets: 95 % confidence.")
            )
        if other := note(point.fingerprint for point in self.points if point.fingerprint):
            notes.append(f"Held-out: {other}")
        if self.seeds == 1:
            notes.append(
                "Each fraction was trained once: --seeds 3 shows how much chance changes the results."
            )
        distances = [found.mean for row in self.rows if (found := row.spread("fd_heldout"))]
        if distances and min(distances) < distances[-1]:
            notes.append(
                "A smaller share has a lower FD than the largest. More images may need more steps; few images are soon "
                "memorized, which lowers FD. A high retrieval seen is a sign of that."
            )
        small = [row for row in self.rows if row.images < self.batch_size]
        if small:
            shares = ", ".join(f"{row.fraction:g}" for row in small)
            notes.append(
                f"At {shares} there are fewer images than a batch of {self.batch_size}: a step sees some twice or more."
            )
        if self.parts:
            notes.append(
                f"Not trained again: {', '.join(self.parts)}. All shares use the same, which may have seen more images."
            )
        if not self.finished:
            notes.append(
                f"{len(self.points)} of {self.trainings} trainings; run the same command to continue."
            )
        return notes

    def to_dict(self) -> dict[str, Any]:
        rows = [
            {
                "fraction": row.fraction,
                "images": row.images,
                "creators": row.creators,
                "epochs": row.epochs,
                "figures": {
                    name: asdict(found) if (found := row.spread(name)) else None
                    for name in row.points[0].figures
                },
            }
            for row in self.rows
        ]
        return {**asdict(self), "finished": self.finished, "rows": rows, "notes": self.notes()}

    def render(self) -> RenderableType:
        """The table that the terminal shows."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        head, *lines = self.table()
        # One word a line, so that with one seed the table fits 80 columns.
        heads = [title.replace(" ", "\n") for title in head]
        table = Table(*heads, box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
        for column in table.columns:
            column.justify = "right"
        for line in lines:
            table.add_row(*line)
        title = Text(
            f"{self.recipe} on fractions of {counted(self.images, 'images')}, "
            f"{counted(self.steps, 'steps')} each"
        )
        return Group(title, Text(""), table, Text(""), *map(Text, self.notes()))

    def table(self) -> list[tuple[str, ...]]:
        """The header, and a line of cells for each fraction."""
        return [HEAD, *(_cells(row) for row in self.rows)]

    def _row(self, fraction: float) -> Row:
        points = tuple(point for point in self.points if point.fraction == fraction)
        creators = mean(point.creators for point in points)
        return Row(fraction, points[0].images, creators, points[0].epochs, points)


HEAD = (
    "share",
    "images",
    "creators",
    "epochs",
    "FD held-out",
    "KD held-out",
    "retrieval held-out",
    "retrieval seen (chance)",
)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.fraction * 100:g} %",
        f"{row.images:,}",
        f"{row.creators:,.0f}",
        f"{row.epochs:,.1f}",
        _figure(row.spread("fd_heldout"), ".1f"),
        _figure(row.spread("kd_heldout"), ".4f"),
        _retrieval(row),
        _seen(row),
    )


def _figure(found: Spread | None, form: str) -> str:
    if found is None:
        return "—"
    return f"{found.mean:{form}}" + ("" if found.deviation is None else f" ± {found.deviation:{form}}")


def _retrieval(row: Row) -> str:
    found, interval = row.spread("retrieval_heldout"), row.interval()
    if found is None or interval is None:
        return "—"
    if found.deviation is not None:
        return f"{found.mean:.1%} ± {found.deviation:.1%}"
    return f"{found.mean:.1%} ({100 * interval[0]:.0f}–{100 * interval[1]:.0f})"


def _seen(row: Row) -> str:
    """Retrieval of seen prompts with its chance, because a small fraction has fewer prompts to confuse."""
    found, chance = row.spread("retrieval_seen"), row.spread("retrieval_chance")
    if found is None or chance is None:
        return "—"
    return f"{found.mean:.1%} ({100 * chance.mean:.1f})"
