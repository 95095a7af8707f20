"""A plan as the terminal shows it: one column for each recipe, and the total."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import size
from commoncanvas.models.data_sheets import Device
from commoncanvas.planning.storage import Column, Stored

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Phase:
    """The training of one recipe. `flops`: for one image, forward and backward. `images`, `trained_images`: rows that
    are encoded, and rows that training sees; None if unknown. `stored`: encoded columns by catalog; `columns` and
    `bytes_per_row` merge the catalogs. `state_bytes`: on a device that holds everything.
    """

    recipe: str
    catalog: str
    parameters: int
    flops: int
    steps: int
    batch_size: int
    images_per_s: float
    hours: float
    device_hours: float
    dollars: float | None
    images: int | None
    trained_images: int | None
    epochs: float | None
    stored: tuple[Stored, ...]
    columns: tuple[Column, ...]
    bytes_per_row: float
    storage_bytes: float | None
    state_bytes: int
    notes: tuple[str, ...]

    @property
    def days(self) -> float:
        return self.hours / 24


@dataclass(frozen=True, repr=False)
class Plan(Printed):
    """Phases that are trained in sequence on `gpus` devices, at `utilisation` of the devices' peak."""

    device: Device
    gpus: int
    utilisation: float
    dollars_an_hour: float | None
    phases: tuple[Phase, ...]
    notes: tuple[str, ...]

    @property
    def hours(self) -> float:
        return sum(phase.hours for phase in self.phases)

    @property
    def device_hours(self) -> float:
        return sum(phase.device_hours for phase in self.phases)

    @property
    def dollars(self) -> float | None:
        return None if self.dollars_an_hour is None else self.device_hours * self.dollars_an_hour

    @property
    def storage_bytes(self) -> float | None:
        """For all phases. A column that several phases read counts once."""
        most: dict[tuple[str, str], float] = {}
        for phase in self.phases:
            mine: defaultdict[tuple[str, str], float] = defaultdict(float)
            for each in phase.stored:
                if each.rows is None:
                    return None
                for column in each.columns:
                    mine[each.catalog, column.name] += column.bytes_per_row * each.rows
            most |= {key: max(size, most.get(key, 0.0)) for key, size in mine.items()}
        return sum(most.values())

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "device": asdict(self.device),
            "gpus": self.gpus,
            "utilisation": self.utilisation,
            "dollars_an_hour": self.dollars_an_hour,
            "phases": [asdict(phase) | {"days": phase.days} for phase in self.phases],
            "total": {
                "hours": self.hours,
                "days": self.hours / 24,
                "device_hours": self.device_hours,
                "dollars": self.dollars,
                "storage_bytes": self.storage_bytes,
            },
            "notes": list(self.notes),
        }

    def render(self) -> RenderableType:
        """As the terminal shows it."""
        return render(self)


NONE = "—"


def render(plan: Plan) -> RenderableType:
    """See `Plan.render`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    several = len(plan.phases) > 1
    table = Table(
        "", *(phase.recipe for phase in plan.phases), box=None, header_style="bold", padding=(0, 2, 0, 0)
    )
    if several:
        table.add_column("total")
    for column in table.columns[1:]:
        column.justify = "right"
    totals = {
        "days": f"{plan.hours / 24:,.2f}",
        "hours": f"{plan.hours:,.1f}",
        "device hours": f"{plan.device_hours:,.0f}",
        "cost": _dollars(plan.dollars),
        "storage": _size(plan.storage_bytes),
    }
    for name, of in _lines(plan).items():
        total = [totals.get(name, "")] if several else []
        table.add_row(name, *map(of, plan.phases), *total, style="bold" if name in totals else None)
    title = Text(
        f"{plan.gpus} × {plan.device.name}, {plan.device.peak / 1e12:,.0f} TFLOP/s at {plan.utilisation:.0%}"
    )
    title.stylize("bold", 0, len(f"{plan.gpus} × {plan.device.name}"))
    notes = [*(note for phase in plan.phases for note in phase.notes), *plan.notes]
    return Group(title, Text(""), table, Text(""), *map(Text, notes))


def _lines(plan: Plan) -> dict[str, Callable[[Phase], str]]:
    lines: dict[str, Callable[[Phase], str]] = {
        "parameters": lambda phase: f"{phase.parameters:,}",
        "GFLOPs an image": lambda phase: f"{phase.flops / 1e9:,.1f}",
        "steps × batch": lambda phase: f"{phase.steps:,} × {phase.batch_size:,}",
        "images": lambda phase: NONE if phase.images is None else f"{phase.images:,}",
        "trained on": lambda phase: NONE if phase.trained_images is None else f"{phase.trained_images:,}",
        "epochs": lambda phase: NONE if phase.epochs is None else f"{phase.epochs:,.1f}",
        "images/s": lambda phase: f"{phase.images_per_s:,.0f}",
        "hours": lambda phase: f"{phase.hours:,.1f}",
        "days": lambda phase: f"{phase.days:,.2f}",
        "device hours": lambda phase: f"{phase.device_hours:,.0f}",
        "cost": lambda phase: _dollars(phase.dollars),
        "bytes a row": lambda phase: f"{phase.bytes_per_row:,.0f}{_measured(phase)}",
        "storage": lambda phase: _size(phase.storage_bytes),
        "device memory": lambda phase: size(phase.state_bytes),
    }
    if plan.gpus > 1:
        lines[f"shared by {plan.gpus}"] = lambda phase: size(phase.state_bytes / plan.gpus)
    return lines


def _measured(phase: Phase) -> str:
    count = sum(column.measured_rows > 0 for column in phase.columns)
    return f" ({count} of {len(phase.columns)} columns measured)" if count else ""


def _dollars(amount: float | None) -> str:
    return NONE if amount is None else f"${amount:,.0f}"


def _size(count: float | None) -> str:
    return NONE if count is None else size(count)
