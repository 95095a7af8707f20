"""Purge: delete the bytes of taken-down images from the disk, then check that none is left."""

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
from commoncanvas.table import search_index
from commoncanvas.table.append import CONFLICT_RETRIES, FRAGMENT_ROWS
from commoncanvas.table.byte_search import Search
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.storage import FOLDER, Storage
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Keys, Tombstones

T = TypeVar("T")

WAIT_S = 5
ROWS_AT_ONCE = 256
"""Rows that are rewritten at a time, with their images in memory."""


@dataclass(frozen=True)
class PurgeReport:
    """No byte of `images` images is left in `files` files of `bytes` bytes in total; `tags` were deleted."""

    images: int
    files: int
    bytes: int
    tags: tuple[str, ...]


def matching_rows(
    dataset: Any, keys: Keys, columns: Sequence[str] = ("image_id",), fragments: Sequence[Any] | None = None
) -> pa.Table:
    """`columns` and `_rowid` of the rows that match `keys` in one version, or in some of its fragments.

    Rows that are only marked as deleted are included, because their bytes still exist; their `_rowid` is null.
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


def not_deleted(rows: pa.Table) -> pa.Table:
    """Rows of `matching_rows` that are not marked as deleted."""
    return rows.filter(rows["_rowid"].is_valid())


def purge(catalog: Catalog, stones: Tombstones, exclusive: bool = False) -> PurgeReport:
    """Rewrite and delete files until nothing is left of the rows with a tombstone, then search all files.

    Tags whose versions contain such rows are deleted, and all old versions without a tag. A process that reads one of
    them fails. If the call is killed, the next call completes it. Raises CatalogError if something is left. `exclusive`
    (no other process uses the catalog) also deletes files that a killed process left.
    """
    tags = _drop_tags(catalog, stones)
    _rewrite(catalog, Keys(image_ids=stones.keys.image_ids))
    catalog.cleanup(timedelta(0), exclusive=exclusive)
    catalog.refresh()
    images, files, size = _search_files(catalog, stones)
    return PurgeReport(images, files, size, tags)


def retry_if_purged(catalog: Catalog, work: Callable[[], T]) -> T:
    """The result of `work`. It is repeated if another purge deletes a version while `work` reads it."""
    for _ in range(CONFLICT_RETRIES):
        catalog.refresh()
        try:
            return work()
        except (OSError, ValueError) as error:
            if "not found" not in str(error).lower():
                raise
    raise CatalogError(f"catalog {catalog.uri}: other processes keep purging it; wait until they end")


def _drop_tags(catalog: Catalog, stones: Tombstones) -> tuple[str, ...]:
    ids = Keys(image_ids=stones.keys.image_ids)

    def holding() -> list[str]:
        tags = catalog.tags().items()
        return [
            tag for tag, version in tags if len(matching_rows(catalog.dataset.checkout_version(version), ids))
        ]

    tags = retry_if_purged(catalog, holding)
    for tag in tags:
        if tag in catalog.tags():
            catalog.delete_tag(tag)
    return tuple(tags)


def _rewrite(catalog: Catalog, ids: Keys) -> None:
    """Rewrite only the fragments that contain marked rows, without these rows."""
    for _ in range(CONFLICT_RETRIES):
        holding, others = retry_if_purged(catalog, partial(_split_fragments, catalog, ids))
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
            # Another process changed a fragment meanwhile. The written files may contain rows of its takedown.
            storage = Storage(catalog.uri, catalog.storage_options)
            for fragment in (each for result in written for each in result.new_fragments):
                for file in fragment.files:
                    storage.delete(f"data/{file.path}")
    else:
        raise CatalogError(
            f"catalog {catalog.uri}: other processes change it faster than it can be purged; stop them and try again"
        )
    search_index.rebuild(catalog)
    if names := search_index.others(catalog):
        catalog.dataset.optimize.optimize_indices(index_names=names, retrain=True)
        catalog.refresh()


def _split_fragments(catalog: Catalog, ids: Keys) -> tuple[list[int], list[int]]:
    """Fragments that contain marked rows with these ids, and all others."""
    holding: list[int] = []
    others: list[int] = []
    for fragment in catalog.dataset.get_fragments():
        marked = fragment.metadata.deletion_file is not None
        holds = marked and len(matching_rows(catalog.dataset, ids, fragments=[fragment])) > 0
        (holding if holds else others).append(fragment.fragment_id)
    return holding, others


def _search_files(catalog: Catalog, stones: Tombstones) -> tuple[int, int, int]:
    """Search all files for all images; returns (images, files, bytes). Raises CatalogError if something is left."""
    owners: dict[int, set[str]] = defaultdict(set)
    for stone in stones.table.select(["image_id", "windows"]).to_pylist():
        for window in stone["windows"] or ():
            owners[window].add(stone["image_id"])
    ids = Keys(image_ids=stones.keys.image_ids)
    storage = Storage(catalog.uri, catalog.storage_options)
    search = Search(owners)
    fragments = retry_if_purged(catalog, partial(_fragments_of_files, catalog))
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
        time.sleep(1)  # another purge may still delete files that it could not commit
        existing = storage.files()
        left = {path: images for path, images in left.items() if path in existing}
    if left:
        images_left = counted(len(set().union(*left.values())), "images")
        raise CatalogError(
            f"bytes of {images_left} are still in {counted(len(left), 'files')} of {catalog.uri} that no version uses, "
            f"such as {min(left)}; a running or killed process wrote them. If no other process uses the catalog, run "
            "this again with --exclusive"
        )
    return len(set().union(*owners.values())), len(files), sum(files.values())


def _fragments_of_files(catalog: Catalog) -> dict[str, list[Any]]:
    """Data file -> its fragments in the newest and the tagged versions."""
    found: dict[str, list[Any]] = defaultdict(list)
    for version in {catalog.version, *catalog.tags().values()}:
        for fragment in catalog.dataset.checkout_version(version).get_fragments():
            for file in fragment.metadata.files:
                found[f"data/{file.path}"].append(fragment)
    return found


def _unexplained(found: set[int], search: Search, fragments: list[Any]) -> set[int]:
    """`found` without windows in images of rows that stay: simple drawings may share pieces."""
    for fragment in fragments:
        if not found:
            break
        for batch in fragment.to_batches(columns=["image"], batch_size=ROWS_AT_ONCE):
            for image in batch["image"]:
                if image.is_valid:
                    found = found - search([image.as_py()])
    return found


def _ids_in(storage: Storage, path: str, options: dict[str, str] | None, ids: Keys) -> set[str]:
    """Ids of taken-down rows in a data file that no version uses. Its strings may be compressed, so decode it."""
    if not path.endswith(".lance"):
        return set()
    uri = f"{storage.uri}/{path}"
    try:
        if "image_id" not in LanceFileReader(uri, options).metadata().schema.names:
            return set()
        rows = LanceFileReader(uri, options, columns=["image_id"]).read_all().to_table()
    except (OSError, ValueError):
        return set()  # the file is incomplete; its bytes were searched anyway
    return set(rows.filter(pa.array(ids.mask(rows)))["image_id"].to_pylist())
