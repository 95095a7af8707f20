"""Duplicates: which rows show the same picture as a better one, kept up to date in `duplicate_of`.

Being a duplicate depends on all other rows, so the whole is worked out each time, and the rows whose answer has
changed are written: new ones, and those whose kept copy has gone or changed.
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
"""Bits of 64. 99 % of photos at quality 60, halved or both are within it of the stored image."""
COLOUR_LIMIT = 16
"""Levels of 255 by which the same picture may differ in a cell of `colours_8`; recompressed and halved: 13 at most."""

_COMMIT_FRAGMENTS = 200
_METHOD = f"sha256, phash and colours within {COLOUR_LIMIT}"


def mark_duplicates(catalog: Catalog, distance: int = DISTANCE, engine: Engine | None = None) -> int:
    """Bring `duplicate_of` up to date for all fetched rows; returns how many rows have changed.

    It is the image_id of the kept copy, null for kept rows. Of equal files, and of pictures whose hashes differ in at
    most `distance` bits and whose colours are alike, the one with the most permissive licence is kept, then the
    largest original, then the smallest image_id. Killed at any moment, the next call ends the same. Raises
    CatalogError for a distance outside 0 to 16.
    """
    near_groups(np.empty(0, np.uint64), distance)  # says what is wrong with a distance before any work
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
        landed, lost = _write(catalog, _outdated(catalog, distance))
        changed += landed
        if not lost:  # by a change of somebody else's, which may have changed the answer too
            return changed


def best_first(rows: pa.Table) -> pa.Table:
    """Rows with `image_id`, `license` and the original's sides, the one to keep of any that are the same before the
    others.
    """
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

    First whether any policy lets it in, then whether both do: the copy that is kept is one that may be trained on if
    any is.
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
    """`_rowid`, `_rowaddr` and the right values of the rows whose values are not right."""
    columns = ["image_id", "license", "original_width", "original_height", "sha256", "phash"]
    rows = catalog.table(
        [*columns, DUPLICATE_OF, CHECKED, "_rowaddr"],
        # A row that was fetched since the colours were made is for the next run.
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
    """[N] rows, the best first -> [N] the index of the row that is kept for each."""
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
    """Write values, in commits of some fragments each; returns the rows that landed and those that did not."""
    fragments = right["_rowaddr"].to_numpy() >> np.uint64(32)
    landed = lost = 0
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
            landed += sum(len(made.row_ids) for made in good)
            lost += sum(len(made.row_ids) for made in bad)
            waiting = []
    return landed, lost
