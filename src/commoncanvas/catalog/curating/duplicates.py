"""Duplicates: rows that show the same picture as a better row. `duplicate_of` names that row.

Whether a row is a duplicate depends on all other rows. So each call compares all rows, but writes only those that
changed: new rows, and rows whose kept copy was removed or changed.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog.curating.neighbours import near_groups, stand_ins
from commoncanvas.catalog.curating.scores import ColourStage
from commoncanvas.engine import Engine
from commoncanvas.table.backfill import run_shown
from commoncanvas.table.columns import ColumnInfo, sources_of
from commoncanvas.table.commits import Slice, commit
from commoncanvas.table.schema import CHECKED, COLOURS, DUPLICATE_OF
from commoncanvas.table.table import Catalog

DISTANCE = 6
"""Bits of 64. It finds 99 % of photos that were recompressed at quality 60, halved in size, or both."""
COLOUR_LIMIT = 16
"""Largest difference in a cell of `colours_8`, levels of 255. Recompressed and halved copies differ by 13 at most."""

_COMMIT_FRAGMENTS = 200
_METHOD = f"sha256, phash and colours within {COLOUR_LIMIT}"


def mark_duplicates(catalog: Catalog, distance: int = DISTANCE, engine: Engine | None = None) -> int:
    """Update `duplicate_of` for all fetched rows; returns how many rows changed.

    It is the image_id of the kept copy, or null for kept rows. Two rows are copies if their files are equal, or if
    their hashes differ in at most `distance` bits and their colours are similar. The kept copy has the most permissive
    licence, then the largest original, then the smallest image_id. After a crash, the next call gives the same result.
    Raises CatalogError for a distance outside 0 to 16.
    """
    near_groups(np.empty(0, np.uint64), distance)  # checks the distance before any work
    run_shown(catalog, ColourStage(), "fetch_status = 'ok'", engine)
    info = ColumnInfo(
        hashlib.sha256(_METHOD.encode()).hexdigest(),
        sources_of(catalog.schema, ["sha256", "phash", COLOURS]),
        (),
        _METHOD,
    )
    fields = [info.field(DUPLICATE_OF, pa.string()), info.field(CHECKED, pa.int8())]
    catalog.add_columns(fields)
    changed = 0
    while True:
        written, lost = _write(catalog, _outdated(catalog, distance))
        changed += written
        if not lost:  # a concurrent change discards writes, and may change the duplicates too
            return changed


def best_first(rows: pa.Table) -> pa.Table:
    """Sort rows with `image_id`, `license` and the original's sides: of equal pictures, the one to keep comes first."""
    rank = [permissiveness(license) for license in rows["license"].to_pylist()]
    pixels = pc.multiply(
        rows["original_width"].cast(pa.int64()), rows["original_height"].cast(pa.int64())
    ).fill_null(0)
    ordered = rows.append_column("_rank", pa.array(rank, pa.int8())).append_column("_pixels", pixels)
    keys = [("_rank", "ascending"), ("_pixels", "descending"), ("image_id", "ascending")]
    return ordered.sort_by(keys).drop_columns(["_rank", "_pixels"])


@lru_cache(maxsize=1 << 14)
def permissiveness(license: str | None) -> int:
    """0 for the licence with the fewest conditions, more for others.

    What both policies allow comes first, then what one allows: if any copy may be trained on, such a copy is kept.
    """
    value = licenses.parse(license)
    conditions = (
        not value.reusable,
        not value.derivatives,
        not value.commercial,
        value.share_alike,
        value.attribution,
    )
    return int("".join(str(int(condition)) for condition in conditions), 2)


def _outdated(catalog: Catalog, distance: int) -> pa.Table:
    """`_rowid`, `_rowaddr` and new values of the rows whose stored values are out of date."""
    columns = ["image_id", "license", "original_width", "original_height", "sha256", "phash"]
    rows = catalog.table(
        [*columns, DUPLICATE_OF, CHECKED, "_rowaddr"],
        # A row that was fetched after the colours were computed waits for the next run.
        f"fetch_status = 'ok' AND {COLOURS} IS NOT NULL",
        with_row_id=True,
    )
    rows = best_first(rows)
    kept = _kept(catalog, rows, distance)
    ids = rows["image_id"].combine_chunks()
    is_kept = pa.array(kept == np.arange(len(rows)))
    duplicate_of = pc.if_else(is_kept, pa.scalar(None, pa.string()), ids.take(pa.array(kept)))
    same = pc.and_(
        pc.equal(rows[DUPLICATE_OF].combine_chunks().fill_null(""), duplicate_of.fill_null("")),
        pc.equal(rows[CHECKED].combine_chunks().fill_null(-1), distance),
    )
    checked = pa.array(np.full(len(rows), distance, np.int8))
    right = pa.table(
        {
            DUPLICATE_OF: duplicate_of,
            CHECKED: checked,
            "_rowid": rows["_rowid"],
            "_rowaddr": rows["_rowaddr"],
        }
    )
    return right.filter(pc.invert(same))


def _kept(catalog: Catalog, rows: pa.Table, distance: int) -> NDArray[np.int64]:
    """[N] rows, best first -> [N] index of the kept row for each."""
    kept = np.arange(len(rows))
    files = rows["sha256"].combine_chunks()
    known = np.flatnonzero(files.is_valid().to_numpy(zero_copy_only=False))
    codes = files.take(pa.array(known)).dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    kept[known] = known[first][inverse]

    hashed = rows["phash"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
    single = np.flatnonzero(hashed & (kept == np.arange(len(rows))))
    hashes = rows["phash"].combine_chunks().take(pa.array(single)).to_numpy()
    groups = near_groups(hashes, distance)
    crowded = np.flatnonzero(np.bincount(groups, minlength=len(groups))[groups] > 1)
    row_ids = rows["_rowid"].combine_chunks().to_numpy()[single[crowded]]
    colours = _colours(catalog, row_ids)
    best = stand_ins(hashes[crowded], distance, lambda row, others: _alike(colours[row], colours[others]))
    kept[single[crowded]] = single[crowded][best]
    return kept[kept]


def _colours(catalog: Catalog, row_ids: NDArray[np.uint64]) -> NDArray[np.int16]:
    found = catalog.take(row_ids, [COLOURS])[COLOURS].combine_chunks()
    values: NDArray[np.uint8] = found.flatten().to_numpy()
    return values.astype(np.int16).reshape(len(row_ids), found.type.list_size)


def _alike(one: NDArray[np.int16], others: NDArray[np.int16]) -> NDArray[np.bool_]:
    close: NDArray[np.bool_] = np.abs(others - one).max(axis=1) <= COLOUR_LIMIT
    return close


def _write(catalog: Catalog, right: pa.Table) -> tuple[int, int]:
    """Write values, several fragments per commit; returns how many rows were written and how many were not."""
    fragments = right["_rowaddr"].to_numpy() >> np.uint64(32)
    written = lost = 0
    waiting: list[Slice] = []
    dataset = catalog.dataset
    ids = np.unique(fragments)
    for number, fragment_id in enumerate(ids.tolist(), 1):
        part = right.filter(pa.array(fragments == fragment_id)).drop_columns(["_rowaddr"])
        fragment = dataset.get_fragment(fragment_id)
        metadata, fields = fragment.update_columns(part)
        waiting.append(
            Slice(
                fragment_id,
                dataset.version,
                part["_rowid"].to_numpy(),
                json.dumps(fragment.metadata.to_json()),
                json.dumps(metadata.to_json()),
                list(fields),
                finished=True,
            )
        )
        if len(waiting) == _COMMIT_FRAGMENTS or number == len(ids):
            good, bad = commit(catalog, waiting)
            written += sum(len(made.row_ids) for made in good)
            lost += sum(len(made.row_ids) for made in bad)
            waiting = []
    return written, lost
