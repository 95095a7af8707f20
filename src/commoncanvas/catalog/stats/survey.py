"""What `stats` counts in each batch of rows, vectorised."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog.tally import Sample, Tally
from commoncanvas.table.schema import DUPLICATE_OF, SCHEMA

SIZES = ("width", "height", "original_width", "original_height")
ASPECTS = {
    "1:2": 1 / 2,
    "9:16": 9 / 16,
    "2:3": 2 / 3,
    "3:4": 3 / 4,
    "4:5": 4 / 5,
    "1:1": 1.0,
    "5:4": 5 / 4,
    "4:3": 4 / 3,
    "3:2": 3 / 2,
    "16:9": 16 / 9,
    "2:1": 2.0,
}
"""Width / height. The first and the last also count everything taller or wider."""
_READ = (
    "license",
    "source",
    "fetch_status",
    "creator",
    "creator_url",
    "camera",
    "country",
    "taken_at",
    *SIZES,
    "exif_camera",
    "caption",
    DUPLICATE_OF,
)
_SHOWN = pa.array([id for id, license in licenses.LICENSES.items() if license.reusable], pa.large_string())


class Survey:
    """Counts of the rows that were added. Columns missing from the table count as null."""

    def __init__(self, schema: pa.Schema, sample: Sample | None = None) -> None:
        self.columns = [name for name in _READ if name in schema.names]
        self.sample = sample
        self.rows = 0
        self.licenses = Tally("license", "fetched", "captioned")
        self.sources = Tally("source")
        self.statuses = Tally("fetch_status")
        self.creators = Tally("creator", "creator_url")
        self.cameras = Tally("camera")
        self.countries = Tally("country")
        self.years = Tally("year")
        self.long_sides = Tally("license", "long_side")
        self.short_sides = Tally("license", "short_side")
        self._aspects = np.zeros(len(ASPECTS), np.int64)
        self.duplicates = 0 if DUPLICATE_OF in self.columns else None
        self.size_sums = np.zeros(len(SIZES))
        self.sized = 0
        """Rows with a stored width; `size_sums` covers them."""
        self.add(pa.RecordBatch.from_pylist([], pa.schema([*map(schema.field, self.columns), _ROW_ID])))

    @property
    def aspects(self) -> dict[str, int]:
        return dict(zip(ASPECTS, self._aspects.tolist(), strict=True))

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch with `columns` and `_rowid`."""
        rows = self._derived(batch)
        self.rows += len(rows)
        for tally in (self.licenses, self.sources, self.statuses, self.creators, self.cameras):
            tally.add(rows)
        self.countries.add(rows)
        self.years.add(rows)
        sized = rows.filter(pc.greater(rows["short_side"], 0))  # also drops nulls
        self.long_sides.add(sized)
        self.short_sides.add(sized)
        # The edges between neighbouring ratios are their geometric means.
        edges = np.sqrt(_RATIOS[:-1] * _RATIOS[1:])
        nearest = np.searchsorted(edges, sized["seen_width"].to_numpy() / sized["seen_height"].to_numpy())
        self._aspects += np.bincount(nearest, minlength=len(ASPECTS))
        stored = rows.filter(rows["width"].is_valid())
        self.sized += len(stored)
        self.size_sums += [pc.sum(stored[name]).as_py() or 0 for name in SIZES]
        if self.duplicates is not None:
            self.duplicates += len(rows) - rows[DUPLICATE_OF].null_count
        if self.sample is not None:
            shown = pc.and_(rows["fetched"], pc.is_in(rows["license"], value_set=_SHOWN))
            self.sample.add(rows["_rowid"].filter(shown).to_numpy())

    def _derived(self, batch: pa.RecordBatch) -> pa.Table:
        """The batch with every column of `_READ` and the derived columns."""
        columns = {name: batch[name] for name in batch.schema.names}
        for name in _READ:
            if name not in columns:
                kind = SCHEMA.field(name).type if name in SCHEMA.names else pa.string()
                columns[name] = pa.nulls(len(batch), kind)
        for name, column in columns.items():
            if pa.types.is_string(column.type):
                columns[name] = column.cast(pa.large_string())  # all creators together can exceed 2 GB
        for side in ("width", "height"):
            columns[f"seen_{side}"] = pc.coalesce(columns[f"original_{side}"], columns[side]).cast(pa.int64())
        sides = columns["seen_width"], columns["seen_height"]
        columns |= {
            "fetched": pc.fill_null(pc.equal(columns["fetch_status"], "ok"), False),
            "captioned": columns["caption"].is_valid(),
            "camera": pc.coalesce(columns["camera"], columns["exif_camera"]),
            "year": pc.year(columns["taken_at"]),
            "long_side": pc.max_element_wise(*sides, skip_nulls=False),
            "short_side": pc.min_element_wise(*sides, skip_nulls=False),
        }
        return pa.table(columns)


_RATIOS = np.array(list(ASPECTS.values()))
_ROW_ID = pa.field("_rowid", pa.uint64())
