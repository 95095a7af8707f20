"""The values that there are to filter by, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.catalog.tally import COUNT, Tally
from commoncanvas.table.schema import COUNTRY
from commoncanvas.table.snapshot import Snapshot

MOST_CREATORS = 300
SCAN_ROWS = 65536


@dataclass(frozen=True)
class Values:
    """Value -> number of rows; rows without a value don't count. Licences, countries and creators: most rows first, of
    creators the first MOST_CREATORS. Years: of `taken_at` in UTC, in order.
    """

    version: int
    rows: int
    licenses: dict[str, int]
    countries: dict[str, int]
    creators: dict[str, int]
    years: dict[int, int]


def count_values(catalog: Snapshot) -> Values:
    """Of all rows of a version. Rows stream; memory grows with the number of creators."""
    names = [
        name for name in ("license", COUNTRY.name, "creator", "taken_at") if name in catalog.schema.names
    ]
    licenses, countries, creators, years = (
        Tally(name) for name in ("license", COUNTRY.name, "creator", "year")
    )
    empty = pa.RecordBatch.from_pylist([], pa.schema([catalog.schema.field(name) for name in names]))
    rows = 0
    for batch in (empty, *catalog.scan(names, batch_size=SCAN_ROWS)):
        rows += len(batch)
        table = pa.Table.from_batches([batch])
        licenses.add(table)
        creators.add(
            table.set_column(names.index("creator"), "creator", table["creator"].cast("large_string"))
        )
        years.add(pa.table({"year": pc.year(table["taken_at"])}))
        if COUNTRY.name in names:
            countries.add(table)
    return Values(
        catalog.version,
        rows,
        _most(licenses),
        _most(countries) if COUNTRY.name in names else {},
        _most(creators, MOST_CREATORS),
        dict(sorted(_most(years).items())),
    )


def _most(tally: Tally, limit: int | None = None) -> dict[Any, int]:
    table = tally.table()
    table = table.filter(table[0].is_valid())
    order = [(COUNT, "descending"), (table.column_names[0], "ascending")]
    table = table.sort_by(order).slice(0, limit)
    return dict(zip(table[0].to_pylist(), table[COUNT].to_pylist(), strict=True))
