"""Statistics of a catalog in one pass: licences and policies, sources, sizes, years, countries, creators."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog.stats.dropped import dropped
from commoncanvas.catalog.stats.result import CatalogStats, Creator, Figures
from commoncanvas.catalog.stats.survey import SIZES, Survey
from commoncanvas.catalog.tally import COUNT, Sample, Tally, histogram, median
from commoncanvas.core.redact import redacted
from commoncanvas.creators.matching import person
from commoncanvas.table.filters import expression
from commoncanvas.table.rows import among
from commoncanvas.table.schema import COUNTRY, SCHEMA
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog

TOP = 20
NOT_STATED = "not stated"
PENDING = "pending"
SIDES = (0, 64, 128, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144)
"""Lower edges of the histograms of sides, in pixels."""
SCAN_ROWS = 65536


def stats(
    catalog: Catalog | str | Path,
    *,
    where: str | None = None,
    row_ids: NDArray[np.uint64] | None = None,
    sample: Sample | None = None,
) -> CatalogStats:
    """Count the rows that match `where` (SQL, or a saved filter's name), without reading images. `row_ids`: only these
    of them.

    Rows stream; memory grows with the number of creators (about 600 bytes each) and cameras. `sample` draws from the
    images that may be shown: stored images whose licence permits reuse. Raises CatalogError.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    where = expression(catalog, where)
    seen = Survey(catalog.schema, sample)
    chosen = None if row_ids is None else np.sort(row_ids)
    for batch in catalog.scan(seen.columns, where, batch_size=SCAN_ROWS, with_row_id=True):
        seen.add(
            batch if chosen is None else batch.filter(pa.array(among(batch["_rowid"].to_numpy(), chosen)))
        )

    by_license = _by_license(seen)
    allowed = {
        "commercial": [each for each in by_license if each.commercial],
        "noncommercial": [each for each in by_license if each.noncommercial],
        "neither": [each for each in by_license if not each.noncommercial],
    }
    by_policy = {name: _together(seen, name, each) for name, each in allowed.items()}
    statuses = _counts(seen.statuses, PENDING)
    people = _people(seen.creators.table())
    cameras = _without_nulls(seen.cameras)
    countries = _counts(seen.countries, NOT_STATED)
    countries.pop(NOT_STATED, None)
    means = [float(total) / seen.sized if seen.sized else None for total in seen.size_sums]
    on_disk = bytes_on_disk(catalog)
    years = _without_nulls(seen.years).sort_by("year")
    return CatalogStats(
        uri=catalog.uri,
        version=catalog.version,
        where=where,
        rows=seen.rows,
        licenses={each.name: each.images for each in by_license},
        by_license=tuple(by_license),
        by_policy=by_policy,
        sources=_counts(seen.sources, NOT_STATED),
        fetch_statuses=statuses,
        creators=len(people),
        top_creators=tuple(
            Creator(row["creator"], row["creator_url"] and redacted(row["creator_url"]), row[COUNT])
            for row in _top(people)
        ),
        cameras=len(cameras),
        top_cameras={row["camera"]: row[COUNT] for row in _top(cameras)},
        countries=countries,
        no_country=seen.rows - sum(countries.values()),
        years=dict(zip(years["year"].to_pylist(), years[COUNT].to_pylist(), strict=True)),
        long_sides=_sides(seen.long_sides, "long_side"),
        short_sides=_sides(seen.short_sides, "short_side"),
        aspects=seen.aspects,
        commercial=by_policy["commercial"].images,
        noncommercial=by_policy["noncommercial"].images,
        mean_width=means[SIZES.index("width")],
        mean_height=means[SIZES.index("height")],
        mean_original_width=means[SIZES.index("original_width")],
        mean_original_height=means[SIZES.index("original_height")],
        filled=_filled(catalog, where, chosen),
        dropped=dropped(
            catalog,
            where,
            {status: count for status, count in statuses.items() if status != "ok"},
            seen.duplicates,
        ),
        image_bytes=on_disk.get("image", 0),
        total_bytes=sum(on_disk.values()),
    )


def _by_license(seen: Survey) -> list[Figures]:
    counts: dict[str | None, Counter[str]] = {}
    for row in seen.licenses.table().to_pylist():
        one = counts.setdefault(row["license"], Counter())
        one["images"] += row[COUNT]
        one["fetched"] += row[COUNT] * row["fetched"]
        one["captioned"] += row[COUNT] * row["captioned"]
    found = []
    for id, one in sorted(counts.items(), key=lambda item: (-item[1]["images"], item[0] or "")):
        license = licenses.parse(id)
        allowed = [licenses.allows(license, policy) for policy in licenses.Policy]
        found.append(
            Figures(
                NOT_STATED if id is None else id,
                1,
                one["images"],
                one["fetched"],
                one["captioned"],
                _median(seen.long_sides, "long_side", [id]),
                _median(seen.short_sides, "short_side", [id]),
                *allowed,
            )
        )
    return found


def _together(seen: Survey, name: str, each: Sequence[Figures]) -> Figures:
    ids = [None if one.name == NOT_STATED else one.name for one in each]
    return Figures(
        name,
        len(each),
        sum(one.images for one in each),
        sum(one.fetched for one in each),
        sum(one.captioned for one in each),
        _median(seen.long_sides, "long_side", ids),
        _median(seen.short_sides, "short_side", ids),
        name == "commercial",
        name != "neither",
    )


def _median(sides: Tally, column: str, ids: Iterable[str | None]) -> int | None:
    table = sides.table()
    # `is_in` matches null with null.
    chosen = table.filter(pc.is_in(table["license"], value_set=pa.array(ids, pa.large_string())))
    return median(chosen[column].to_numpy(), chosen[COUNT].to_numpy())


def _sides(sides: Tally, column: str) -> dict[int, int]:
    table = sides.table()
    return histogram(table[column].to_numpy(), table[COUNT].to_numpy(), SIDES)


def _counts(tally: Tally, missing: str) -> dict[str, int]:
    table = tally.table()
    (column,) = tally.columns
    counts = zip(table[column].to_pylist(), table[COUNT].to_pylist(), strict=True)
    ordered = sorted(counts, key=lambda item: (-item[1], item[0] or ""))
    return {missing if name is None else name: count for name, count in ordered}


def _without_nulls(tally: Tally) -> pa.Table:
    """The tally's table without the rows that are null in every column."""
    table = tally.table()
    valid = [table[column].is_valid() for column in tally.columns]
    return table.filter(valid[0] if len(valid) == 1 else pc.or_(*valid))


def _people(table: pa.Table) -> pa.Table:
    """One row per person: the most frequent spelling of name and address, with the rows of all spellings."""
    named = [pc.fill_null(pc.not_equal(table[name], ""), False) for name in ("creator", "creator_url")]
    table = table.filter(pc.or_(*named))
    order = [(COUNT, "descending"), ("creator", "ascending"), ("creator_url", "ascending")]
    table = table.sort_by(order)
    keys = []
    for batch in table.select(["creator", "creator_url"]).to_batches(max_chunksize=SCAN_ROWS):
        pairs = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        keys.append(pa.array([person(*pair) for pair in pairs], pa.large_string()))
    whole = table.append_column("person", pa.chunked_array(keys, pa.large_string()))
    firsts = [("creator", "first"), ("creator_url", "first"), (COUNT, "sum")]
    nulls = pc.ScalarAggregateOptions(skip_nulls=False)
    counted = whole.group_by("person", use_threads=False).aggregate(
        [(name, how, nulls if how == "first" else None) for name, how in firsts]
    )
    return counted.select([f"{name}_{how}" for name, how in firsts]).rename_columns(table.column_names)


def _top(table: pa.Table) -> list[dict[str, Any]]:
    """The rows with the largest counts; equal counts are sorted by name."""
    if len(table) > TOP:
        counts = table[COUNT].to_numpy()
        table = table.filter(pa.array(counts >= np.partition(counts, -TOP)[-TOP]))
    names = [column for column in table.column_names if column != COUNT]
    order = [(COUNT, "descending"), *((name, "ascending") for name in names)]
    rows: list[dict[str, Any]] = table.sort_by(order).slice(0, TOP).to_pylist()
    return rows


def _filled(catalog: Catalog, where: str | None, chosen: NDArray[np.uint64] | None) -> dict[str, int]:
    beyond = (name for name in catalog.schema.names if name not in (*SCHEMA.names, COUNTRY.name))
    columns = ["label", *beyond]
    present = [name for name in columns if name in catalog.schema.names]
    conditions = {name: all_of(f"`{name}` IS NOT NULL", where) for name in present}
    if chosen is None:
        return {name: catalog.count(condition) for name, condition in conditions.items()}
    return {
        name: sum(
            int(among(batch["_rowid"].to_numpy(), chosen).sum())
            for batch in catalog.scan([], condition, SCAN_ROWS, with_row_id=True)
        )
        for name, condition in conditions.items()
    }


def bytes_on_disk(catalog: Catalog) -> dict[str, int]:
    """Column -> bytes on disk in the files of this version."""
    by_id = {entry.id: entry.bytes_on_disk for entry in catalog.dataset.stats.data_stats().fields}
    return {
        field.name(): by_id.get(field.id(), 0) + sum(by_id.get(child.id(), 0) for child in field.children())
        for field in catalog.dataset.lance_schema.fields()
    }
