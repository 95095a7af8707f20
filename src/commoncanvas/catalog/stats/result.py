"""Statistics as the terminal shows them: C and NC side by side, then the details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from commoncanvas.catalog.stats.dropped import Dropped
from commoncanvas.core.console import Printed
from commoncanvas.core.numbers import size
from commoncanvas.core.tables import SHOWN, count_table, headed, percent
from commoncanvas.core.text import clean, counted
from commoncanvas.creators.names import NO_CREATOR
from commoncanvas.licenses import shortened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.catalog.stats.dropped import Dropped


@dataclass(frozen=True)
class Figures:
    """Counts of the images under one licence, or under all licences of a policy.

    The sides are medians, each computed separately, of the originals if known; None if no size is known.
    """

    name: str
    licenses: int
    images: int
    fetched: int
    captioned: int
    long_side: int | None
    short_side: int | None
    commercial: bool
    """Allowed by the policy `commercial` (CommonCanvas-C)."""
    noncommercial: bool
    """Allowed by the policy `noncommercial` (CommonCanvas-NC)."""


@dataclass(frozen=True)
class Creator:
    """A creator. The URL distinguishes people with the same name."""

    name: str | None
    url: str | None
    images: int


@dataclass(frozen=True, repr=False)
class CatalogStats(Printed):
    """Counts cover the rows that match the filter, largest first; bytes cover the whole table on disk."""

    uri: str
    version: int
    where: str | None
    rows: int
    licenses: dict[str, int]
    by_license: tuple[Figures, ...]
    by_policy: dict[str, Figures]
    """`commercial`, `noncommercial` (which includes all of `commercial`) and `neither`."""
    sources: dict[str, int]
    fetch_statuses: dict[str, int]
    creators: int
    top_creators: tuple[Creator, ...]
    cameras: int
    top_cameras: dict[str, int]
    """Names from the source, else from EXIF."""
    countries: dict[str, int]
    """ISO 3166-1 alpha-2 codes of the country of the picture; rows without one are not counted."""
    no_country: int
    """Rows with an unknown country."""
    years: dict[int, int]
    """Years of `taken_at` (UTC), in order; rows without a date are not counted."""
    long_sides: dict[int, int]
    """Lower edge in pixels -> images whose original's longest side is between it and the next edge."""
    short_sides: dict[int, int]
    aspects: dict[str, int]
    """Nearest common ratio of width to height -> images, from tall to wide."""
    commercial: int
    """Rows that the policy `commercial` (CommonCanvas-C) allows."""
    noncommercial: int
    """Rows that the policy `noncommercial` (CommonCanvas-NC) allows."""
    mean_width: float | None
    mean_height: float | None
    mean_original_width: float | None
    mean_original_height: float | None
    filled: dict[str, int]
    """Rows with a value, for `label` and each column that a stage added."""
    dropped: Dropped
    image_bytes: int
    total_bytes: int

    def render(self) -> RenderableType:
        """What the terminal shows."""
        return render(self)


POLICIES = {"commercial": "C", "noncommercial": "NC", "neither": "neither"}


def render(found: CatalogStats) -> RenderableType:
    """See `CatalogStats.render`."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    filtered = f" where {shortened(found.where)}" if found.where else ""
    title = Text(f"{found.uri} version {found.version}{filtered}")
    title.stylize("bold", 0, len(found.uri))
    people = {_person(each.name, each.url): each.images for each in found.top_creators}
    tables = [
        count_table("source", found.sources, found.rows),
        count_table("fetch", found.fetch_statuses, found.rows),
        count_table("creator", people, found.rows, len(people) < found.creators),
        count_table("camera", found.top_cameras, found.rows, len(found.top_cameras) < found.cameras),
        count_table("country", places(found, SHOWN), found.rows),
        count_table("column", found.filled, found.rows),
    ]
    blank = Text("")
    return Group(
        title,
        *map(Text, _summary(found)),
        blank,
        _policies(found),
        blank,
        *([_licenses(found), blank] if found.by_license else []),
        Columns([table for table in tables if table], padding=(1, 3)),
        *(Text(line) for line in dropped_lines(found.dropped)),
    )


def places(found: CatalogStats, most: int) -> dict[str, int]:
    """At most `most` lines: the countries with the most images, the sum of the others, and the unknown.

    {} if no country is known.
    """
    if not found.countries:
        return {}
    listed, unknown = list(found.countries.items()), bool(found.no_country)
    if len(listed) + unknown > most:
        cut = most - 1 - unknown
        listed, more = listed[:cut], listed[cut:]
        listed.append((f"{len(more):,} more", sum(count for _, count in more)))
    return dict(listed) | ({"unknown": found.no_country} if unknown else {})


def _summary(found: CatalogStats) -> list[str]:
    lines = [
        f"{counted(found.rows, 'images')} by {counted(found.creators, 'creators')}; "
        f"{size(found.image_bytes)} of images, {size(found.total_bytes)} in all"
    ]
    if found.mean_width and found.mean_height and found.mean_original_width and found.mean_original_height:
        lines.append(
            f"on average {found.mean_original_width:,.0f} × {found.mean_original_height:,.0f} pixels, "
            f"stored as {found.mean_width:,.0f} × {found.mean_height:,.0f}"
        )
    if found.years:
        dated = sum(found.years.values())
        most = max(found.years, key=lambda year: found.years[year])
        lines.append(
            f"taken {min(found.years)} to {max(found.years)}; {found.years[most]:,} of {dated:,} dated images in {most}"
        )
    return lines


def _policies(found: CatalogStats) -> Any:
    table = headed("", *POLICIES.values())
    sides = [found.by_policy[name] for name in POLICIES]
    table.add_row("images", *(f"{side.images:,}" for side in sides), style="bold")
    table.add_row("of all", *(percent(side.images, found.rows) for side in sides))
    table.add_row("licences", *(f"{side.licenses:,}" for side in sides))
    table.add_row("fetched", *(f"{side.fetched:,}" for side in sides))
    table.add_row("with a caption", *(f"{side.captioned:,}" for side in sides))
    table.add_row("median size", *map(pixels, sides))
    return table


def _licenses(found: CatalogStats) -> Any:
    from rich.text import Text

    table = headed("licence", "C", "NC", "images", "%", "fetched", "captioned", "median size")
    for one in found.by_license[:SHOWN]:
        table.add_row(
            Text(clean(one.name) or ""),
            "✓" if one.commercial else "",
            "✓" if one.noncommercial else "",
            f"{one.images:,}",
            percent(one.images, found.rows),
            f"{one.fetched:,}",
            f"{one.captioned:,}",
            pixels(one),
        )
    if more := found.by_license[SHOWN:]:
        sums = [sum(getattr(one, name) for one in more) for name in ("images", "fetched", "captioned")]
        table.add_row(
            f"{len(more):,} more",
            *("", ""),
            f"{sums[0]:,}",
            percent(sums[0], found.rows),
            f"{sums[1]:,}",
            f"{sums[2]:,}",
        )
    return table


def dropped_lines(dropped: Dropped) -> list[str]:
    """The rows that aren't trained on, one line per step."""
    lines = []
    for one in dropped.imports:
        if one.skipped or one.refused:
            # `rows` includes the rows that were taken down before.
            out = sum(one.skipped.values()) + one.refused
            reasons = {**one.skipped, **({"taken down before": one.refused} if one.refused else {})}
            listed = ", ".join(f"{reason} ({count:,})" for reason, count in _most_first(reasons))
            total = one.rows + sum(one.skipped.values())
            lines.append(
                f"The import from {one.source} left out {out:,} of {counted(total, 'rows')}: {listed}."
            )
    if dropped.taken_down:
        lines.append(f"taken down and kept out: {dropped.taken_down:,}")
    if dropped.duplicates:
        lines.append(f"duplicates of a kept image: {dropped.duplicates:,}")
    for filter in dropped.filters:
        if filter.error:
            lines.append(f"filter {filter.name}: {filter.error}")
            continue
        steps = "; ".join(
            f"{step.name} {minus(step.commercial)} C, {minus(step.noncommercial)} NC" for step in filter.steps
        )
        lines.append(
            f"filter {filter.name}: {steps}; left {filter.commercial:,} C, {filter.noncommercial:,} NC"
        )
    return [clean(line) or "" for line in lines]


def minus(count: int) -> str:
    return f"−{count:,}" if count else "0"


def pixels(figures: Figures) -> str:
    """`1,024 × 768`, the long side first; a dash if no size is known."""
    if figures.long_side is None or figures.short_side is None:
        return "—"
    return f"{figures.long_side:,} × {figures.short_side:,}"


def _person(name: str | None, url: str | None) -> str:
    return clean(name) or clean(url) or NO_CREATOR


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
