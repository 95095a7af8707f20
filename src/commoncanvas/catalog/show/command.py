"""Show rows: their columns, their fetch status, and for a duplicate the row that it copies."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.catalog.credits import COLUMNS as CREDITED
from commoncanvas.catalog.credits import credit
from commoncanvas.catalog.status_counts import status_counts
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted, one_line
from commoncanvas.images.thumbnail import thumbnail
from commoncanvas.licenses import shortened
from commoncanvas.table.filters import expression
from commoncanvas.table.schema import DUPLICATE_OF
from commoncanvas.table.sql import all_of, listed
from commoncanvas.table.table import Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS = ("title", "creator", "license", "fetch_status", "fetch_error")
LIMIT = 50
VALUE_LENGTH = 200
"""Longer values are cut to this many characters."""
ID_WIDTH = 40
"""Ids up to this length are never wrapped, so that users can copy them."""

Row = dict[str, str | None]


@dataclass(frozen=True, repr=False)
class ShownRows(Printed):
    """The first of the `matching` rows: `image_id`, `columns` and `duplicate_of` as text. `kept`: image_id -> the row
    that duplicates copy. `statuses` counts the fetch statuses of all matching rows.
    """

    uri: str
    version: int
    where: str | None
    columns: tuple[str, ...]
    matching: int
    statuses: dict[str, int]
    rows: tuple[Row, ...]
    kept: dict[str, Row]

    @property
    def left_out(self) -> str | None:
        """How many rows are not shown, in words."""
        more = self.matching - len(self.rows)
        return f"{counted(more, 'more rows')}; --limit shows more" if more else None

    def render(self) -> RenderableType:
        """What the terminal shows: one line per row, and below a duplicate the row that it copies."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        names = ("image_id", *self.columns)
        table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
        longest = max((len(row["image_id"] or "") for row in self.rows), default=0)
        table.add_column("image_id", overflow="fold", no_wrap=longest <= ID_WIDTH)
        for name in self.columns:
            table.add_column(name, overflow="fold")
        for row in self.rows:
            table.add_row(*(row[name] or "–" for name in names))
            copied = row.get(DUPLICATE_OF)
            if copied:
                other = self.kept.get(copied, {"image_id": copied})
                table.add_row(
                    f"↳ copy of {other['image_id']}",
                    *(other.get(name) or "–" for name in names[1:]),
                    style="dim",
                )
        title = Text(f"{self.uri} version {self.version}: {counted(self.matching, 'rows')}", style="bold")
        if self.where:
            title.append(f" where {shortened(self.where)}", style="not bold")
        return Group(title, *([table] if self.rows else []), *([self.left_out] if self.left_out else []))

    def _repr_html_(self) -> str:
        """What a notebook shows: a line a row with its picture, and whom to credit for it."""
        catalog = Catalog.open(self.uri, version=self.version)
        ids = [row["image_id"] or "" for row in self.rows]
        columns = list(dict.fromkeys([*CREDITED, "image"]))
        read = catalog.table(columns, f"image_id IN ({listed(ids)})").to_pylist() if ids else []
        found = {row["image_id"]: row for row in read}
        lines = [
            "<tr>"
            + "".join(f"<th>{escape(name)}</th>" for name in ("", "credit", "image_id", *self.columns))
            + "</tr>"
        ]
        for row in self.rows:
            stored = found.get(row["image_id"])
            small = thumbnail(stored["image"]) if stored else None
            picture = f'<img src="data:image/webp;base64,{b64encode(small).decode()}">' if small else ""
            cells = [picture, credit(stored).html() if stored else ""]
            cells += [escape(row[name] or "–") for name in ("image_id", *self.columns)]
            lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
        title = escape(f"{self.uri} version {self.version}: {counted(self.matching, 'rows')}")
        return f"<p>{title}</p><table>{''.join(lines)}</table><p>{escape(self.left_out or '')}</p>"


def show(
    catalog: Catalog | str | Path,
    *,
    where: str | None = None,
    columns: Sequence[str] = COLUMNS,
    limit: int = LIMIT,
) -> ShownRows:
    """The first `limit` rows that match `where` (SQL, or the name of a saved filter), in table order.

    Raises CatalogError for an invalid condition or unknown columns.
    """
    if limit < 1:
        raise CatalogError(f"limit {limit} shows no rows; give 1 or more")
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    condition = all_of(expression(catalog, where)) if where else None
    copies = [DUPLICATE_OF] if DUPLICATE_OF in catalog.schema.names else []
    read = list(dict.fromkeys(["image_id", *columns, *copies]))
    rows = [_shown(row) for row in catalog.table(read, condition, limit=limit).to_pylist()]
    ids = {copied for row in rows if (copied := row.get(DUPLICATE_OF))}
    kept = catalog.table(read, f"image_id IN ({listed(sorted(ids))})").to_pylist() if ids else []
    statuses = status_counts(catalog, "fetch_status", condition, missing="pending")
    return ShownRows(
        uri=catalog.uri,
        version=catalog.version,
        where=condition,
        columns=tuple(name for name in dict.fromkeys(columns) if name != "image_id"),
        matching=sum(statuses.values()),
        statuses=statuses,
        rows=tuple(rows),
        kept={row["image_id"]: _shown(row) for row in kept},
    )


def _shown(row: Mapping[str, Any]) -> Row:
    return {name: _text(value) for name, value in row.items()}


def _text(value: Any) -> str | None:
    """A value of any column as readable text."""
    match value:
        case None:
            return None
        case bytes():
            return counted(len(value), "bytes")
        case float():
            return f"{value:.4g}"
        case datetime():
            return value.isoformat(" ", "seconds")
        case [float(), *_]:
            return counted(len(value), "numbers")
        case list():
            return one_line(", ".join(str(_text(each)) for each in value), VALUE_LENGTH)
        case _:
            return one_line(value, VALUE_LENGTH)
