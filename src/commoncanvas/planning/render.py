"""A plan as the terminal shows it: a column a recipe, and their total."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from commoncanvas.core.numbers import size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.planning.command import Phase, Plan

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
