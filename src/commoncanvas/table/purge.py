"""Purge: what was taken down leaves the disk, and is looked for afterwards."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
from lance.commit import CommitConflictError
from lance.file import LanceFileReader
from lance.optimize import Compaction

from commoncanvas.core.console import progress
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted
from commoncanvas.table.append import CONFLICT_RETRIES, FRAGMENT_ROWS
from commoncanvas.table.byte_search import Search
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.storage import FOLDER, Storage
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Keys, Tombstones

T = TypeVar("T")

WAIT_S = 5
ROWS_AT_ONCE = 256
"""Rows that are rewritten at a time: each has its image in memory."""


@dataclass(frozen=True)
class PurgeReport:
    """No byte of `images` images is left in `files` files of `bytes` bytes in all; `tags` went."""

    images: int
    files: int
    bytes: int
    tags: tuple[str, ...]


def held(
    dataset: Any, keys: Keys, columns: Sequence[str] = ("image_id",), fragments: Sequence[Any] | None = None
) -> pa.Table:
    """`columns` and `_rowid` of the rows that `keys` mean in one version, or in some fragments of it.

    Rows that are only marked as deleted are among them, for their bytes are there too; their `_rowid` is null.
    """
    scanner = dataset.scanner(
        columns=list(columns),
        with_row_id=True,
        include_deleted_rows=True,
        fragments=fragments,
        batch_size=65536,
    )
    found = [scanner.projected_schema.empty_table()]
    for batch in scanner.to_batches():
        rows = pa.Table.from_batches([batch])
        found.append(rows.filter(pa.array(keys.mask(rows))))
    return pa.concat_tables(found)


def live(rows: pa.Table) -> pa.Table:
    """Rows of `held` that are not marked as deleted."""
    return rows.filter(rows["_rowid"].is_valid())


def purge(catalog: Catalog, stones: Tombstones, exclusive: bool = False) -> PurgeReport:
    """Rewrite and drop files until nothing of the rows with a tombstone is left, then look.

    Tags whose versions hold such rows are deleted, and so is every old version without a tag: who is reading one
    meanwhile fails. Killed, it is done by the next call. Raises CatalogError if something is left: then `exclusive`
    (nobody else is at work on the catalog) also removes files that a killed process left behind.
    """
    tags = _drop_tags(catalog, stones)
    _rewrite(catalog, Keys(image_ids=stones.keys.image_ids))
    catalog.cleanup(timedelta(0), exclusive=exclusive)
    catalog.refresh()
    images, files, size = _look(catalog, stones)
    return PurgeReport(images, files, size, tags)


def steadily(catalog: Catalog, work: Callable[[], T]) -> T:
    """What `work` returns, which reads versions that another purge may take away under it: then it is done again."""
    for _ in range(CONFLICT_RETRIES):
        catalog.refresh()
        try:
            return work()
        except (OSError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise
    raise CatalogError(f"catalog {catalog.uri} is purged by others again and again; wait for them")


def _drop_tags(catalog: Catalog, stones: Tombstones) -> tuple[str, ...]:
    ids = Keys(image_ids=stones.keys.image_ids)

    def holding() -> list[str]:
        tags = catalog.tags().items()
        return [tag for tag, version in tags if len(held(catalog.dataset.checkout_version(version), ids))]

    tags = steadily(catalog, holding)
    for tag in tags:
        if tag in catalog.tags():
            catalog.delete_tag(tag)
    return tuple(tags)


def _rewrite(catalog: Catalog, ids: Keys) -> None:
    """Write the fragments that hold marked rows anew, without them, and nothing else."""
    for _ in range(CONFLICT_RETRIES):
        holding, others = steadily(catalog, partial(_sorted_out, catalog, ids))
        if not holding:
            break
        options = {
            "materialize_deletions_threshold": 0.0,
            "target_rows_per_fragment": FRAGMENT_ROWS,
            "batch_size": ROWS_AT_ONCE,
            "excluded_fragment_ids": others,
        }
        written = []
        try:
            for task in Compaction.plan(catalog.dataset, options).tasks:
                written.append(task.execute(catalog.dataset))
            Compaction.commit(catalog.dataset, written)
        except (OSError, ValueError, CommitConflictError) as error:
            if not re.search("conflict|not found", str(error), re.IGNORECASE):
                raise CatalogError(f"catalog {catalog.uri} can't be rewritten: {reason(error)}") from error
            # Somebody else changed a fragment in between. What was written may hold rows of another takedown.
            storage = Storage(catalog.uri, catalog.storage_options)
            for fragment in (each for result in written for each in result.new_fragments):
                for file in fragment.files:
                    storage.delete(f"data/{file.path}")
    else:
        raise CatalogError(
            f"catalog {catalog.uri} is changed by others faster than it can be purged; stop them and run this again"
        )
    if catalog.dataset.list_indices():
        catalog.dataset.optimize.optimize_indices(retrain=True)
        catalog.refresh()


def _sorted_out(catalog: Catalog, ids: Keys) -> tuple[list[int], list[int]]:
    """Fragments that hold marked rows with these ids, and all others."""
    holding: list[int] = []
    others: list[int] = []
    for fragment in catalog.dataset.get_fragments():
        marked = fragment.metadata.deletion_file is not None
        holds = marked and len(held(catalog.dataset, ids, fragments=[fragment])) > 0
        (holding if holds else others).append(fragment.fragment_id)
    return holding, others


def _look(catalog: Catalog, stones: Tombstones) -> tuple[int, int, int]:
    """Search every file; (images, files, bytes) searched for and through. Raises CatalogError if something is left."""
    owners: dict[int, set[str]] = defaultdict(set)
    for stone in stones.table.select(["image_id", "windows"]).to_pylist():
        for window in stone["windows"] or ():
            owners[window].add(stone["image_id"])
    ids = Keys(image_ids=stones.keys.image_ids)
    storage = Storage(catalog.uri, catalog.storage_options)
    search = Search(owners)
    fragments = steadily(catalog, partial(_fragments_of_files, catalog))
    left: dict[str, set[str]] = {}
    files = {path: size for path, size in storage.files().items() if not path.startswith(f"{FOLDER}/")}
    with progress("look", sum(files.values()), unit="bytes") as bar:
        for path, size in files.items():
            found = search(storage.chunks(path))
            holders = fragments.get(path, [])
            found = _unexplained(found, search, holders)
            images = {image for window in found for image in owners[window]}
            if not holders:
                images |= _ids_in(storage, path, catalog.storage_options, ids)
            if images:
                left[path] = images
            bar.advance(size)
    for _ in range(WAIT_S):
        if not left:
            break
        time.sleep(1)  # what another purge had to give up, it removes itself
        there = storage.files()
        left = {path: images for path, images in left.items() if path in there}
    if left:
        held = counted(len(set().union(*left.values())), "images")
        raise CatalogError(
            f"bytes of {held} are still in {counted(len(left), 'files')} of {catalog.uri} that no version of it "
            f"uses, such as {min(left)}: a process that is at work there, or was killed, wrote them; when none is at "
            "work, run this again with --exclusive"
        )
    return len(set().union(*owners.values())), len(files), sum(files.values())


def _fragments_of_files(catalog: Catalog) -> dict[str, list[Any]]:
    """Data file -> the fragments, in the newest and the tagged versions, that it belongs to."""
    found: dict[str, list[Any]] = defaultdict(list)
    for version in {catalog.version, *catalog.tags().values()}:
        for fragment in catalog.dataset.checkout_version(version).get_fragments():
            for file in fragment.metadata.files:
                found[f"data/{file.path}"].append(fragment)
    return found


def _unexplained(found: set[int], search: Search, fragments: list[Any]) -> set[int]:
    """`found` without what is in images of rows that stay: simple drawings may have pieces in common."""
    for fragment in fragments:
        if not found:
            break
        for batch in fragment.to_batches(columns=["image"], batch_size=ROWS_AT_ONCE):
            for image in batch["image"]:
                if image.is_valid:
                    found = found - search([image.as_py()])
    return found


def _ids_in(storage: Storage, path: str, options: dict[str, str] | None, ids: Keys) -> set[str]:
    """Image ids of rows taken down, in a data file of no version: its strings may be compressed, so it is decoded."""
    if not path.endswith(".lance"):
        return set()
    uri = f"{storage.uri}/{path}"
    try:
        if "image_id" not in LanceFileReader(uri, options).metadata().schema.names:
            return set()
        rows = LanceFileReader(uri, options, columns=["image_id"]).read_all().to_table()
    except (OSError, ValueError):
        return set()  # not written to its end; its bytes have been searched all the same
    return set(rows.filter(pa.array(ids.mask(rows)))["image_id"].to_pylist())
