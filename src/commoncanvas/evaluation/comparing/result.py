"""A comparison of two sets of images as the terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import figure
from commoncanvas.evaluation.scorers.scorer import ScorerInfo

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Figure:
    """One figure. `low` and `high` bound its 95 % interval; None if it has none."""

    metric: str
    name: str
    """What the field calls this metric on this network, or the score by this model."""
    value: float
    low: float | None
    high: float | None
    better: str


@dataclass(frozen=True)
class Side:
    """One set of images. `images` is None if its file doesn't say how many there were."""

    path: str
    images: int | None
    images_sha256: str | None


@dataclass(frozen=True, repr=False)
class Comparison(Printed):
    """What `compare` measured."""

    network: str
    network_sha256: str
    resize: str
    generated: Side
    real: Side
    figures: tuple[Figure, ...]
    scorers: tuple[ScorerInfo, ...]
    """What made the scores among the figures."""
    left_out: Mapping[str, str]
    """Metric -> why it has no value."""
    few: str | None
    """The user's reason to allow too few images; None if there were enough."""
    versions: Mapping[str, str]
    """Library -> its version."""
    created: str
    """When, in ISO 8601."""

    def values(self) -> dict[str, float]:
        """Metric -> its value."""
        return {each.metric: each.value for each in self.figures}

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("", "value", "95 %", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.columns[1].justify = "right"
        for each in self.figures:
            shown = (
                "" if each.low is None or each.high is None else f"{figure(each.low)} to {figure(each.high)}"
            )
            table.add_row(each.name, figure(each.value), shown, f"{each.better} is better")
        lines = [f"{name}: {reason}" for name, reason in self.left_out.items()]
        lines += [f"{each.name}: weights {each.sha256[:12]}" for each in self.scorers]
        if self.few:
            lines.append(f"too few images, allowed: {self.few}; compare only with figures of as many images")
        title = f"{_of(self.generated)} against {_of(self.real)}; features of {self.network}"
        return Group(Text(title), Text(""), table, Text(""), *map(Text, lines))

    def to_dict(self) -> dict[str, Any]:
        return {"values": self.values(), **super().to_dict()}


def _of(side: Side) -> str:
    return (
        f"{side.path} ({'number of images not stated' if side.images is None else f'{side.images:,} images'})"
    )
