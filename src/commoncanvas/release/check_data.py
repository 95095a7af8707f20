"""Check a data set before it is published, or one that somebody else has published."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog.credits import read_credits
from commoncanvas.catalog.export.croissant import CREDITS, VERSION, load_mlcroissant
from commoncanvas.catalog.export.data_card import hub_licenses
from commoncanvas.catalog.export.papers import CROISSANT
from commoncanvas.catalog.export_folder import CARD, REMOVED, cut_off
from commoncanvas.core.errors import MissingExtraError
from commoncanvas.core.text import counted, one_line
from commoncanvas.readers.archives import check_end
from commoncanvas.readers.tables import parquet_schema
from commoncanvas.release.data_folder import DataFolder, id_hash
from commoncanvas.release.data_papers import CITATION, LICENSE, STATISTICS
from commoncanvas.release.datasheet import DATASHEET
from commoncanvas.release.findings import NotChecked, ReleaseCheck, pickles, run_checks, some, stated_license
from commoncanvas.release.removed import listed_rows, read_removed, taken_down_rows
from commoncanvas.release.sums import SUMS, read_sums, wrong_sums
from commoncanvas.table.table import Catalog
from commoncanvas.table.taken_down_rows import taken_down

NEEDED = (CARD, CREDITS, CROISSANT, DATASHEET, LICENSE, CITATION, REMOVED, STATISTICS, SUMS)
COLUMNS = ("image_id", "license", "credit")
"""Columns that each shard needs."""


class CheckedData(DataFolder):
    """A data folder and its catalog, if it is at hand."""

    def __init__(self, path: Path, catalog: Catalog | None) -> None:
        super().__init__(path)
        self.catalog = catalog


def check_data(folder: str | Path, catalog: Catalog | str | Path | None = None) -> ReleaseCheck:
    """Check a folder of `release data`: its files and their digests, formats, the licence and the credit of each row,
    Croissant metadata, and whether an image was taken down since. `catalog`: where it is from.

    Raises CatalogError if it has no shards, or if the catalog can't be opened.
    """
    opened = Catalog.open(catalog) if isinstance(catalog, str | Path) else catalog
    return run_checks(str(folder), CheckedData(Path(folder), opened), CHECKS)


def _files(folder: CheckedData) -> Iterator[str]:
    """The files of a release, and no shard beside them that tools would load."""
    yield from (f"{name} is missing" for name in NEEDED if not (folder.path / name).is_file())
    if (why := cut_off(folder.path)) is not None:
        yield f"the release is not complete: {why}"
    if (folder.path / SUMS).is_file():
        listed = read_sums(folder.path)
        names = (path.relative_to(folder.path).as_posix() for path in folder.shards)
        yield from (f"{name} is not in {SUMS}, but tools load it" for name in names if name not in listed)


def _sums(folder: CheckedData) -> Iterator[str]:
    """The digests in SHA256SUMS."""
    return wrong_sums(folder.path)


def _formats(folder: CheckedData) -> Iterator[str]:
    """No file may run code when it is loaded, and all shards can be read."""
    yield from pickles(folder.path, "Parquet or tar files")
    for path in folder.shards:
        name = path.relative_to(folder.path).as_posix()
        try:
            if path.suffix == ".tar":
                check_end(path)
            elif missing := [each for each in COLUMNS if each not in parquet_schema(path).names]:
                yield f"{name} has no column {', '.join(missing)}"
        except Exception as error:  # a stranger's file may hold anything
            yield f"{name} can't be read: {one_line(error)}"


def _license(folder: CheckedData) -> Iterator[str]:
    """The licence of each row is known and lets anyone share the image; the card states these licences."""
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for batch in folder.batches(COLUMNS[:2]):
        for row in batch:
            name = str(row.get("license"))
            counts[name] += 1
            first.setdefault(name, str(row.get("image_id")))
    for name, count in counts.items():
        known = licenses.parse(name)
        if not (known.known and known.reusable):
            why = "does not let anyone share them" if known.known else "is not known"
            yield f"{counted(count, 'images')} under {name}, which {why}: {first[name]}"
    if (folder.path / CARD).is_file():
        stated = stated_license(folder.path / CARD)
        wanted = hub_licenses(map(licenses.parse, counts))
        if _as_set(stated) != _as_set(wanted):
            yield f"{CARD} states licence {stated}, not {wanted}"


def _credits(folder: CheckedData) -> Iterator[str]:
    """Each image is credited under its licence, once, and no other image is."""
    rows, empty = array("Q"), 0
    for batch in folder.batches(COLUMNS):
        rows.extend(_hash(row.get("image_id"), row.get("license")) for row in batch)
        empty += sum(not row.get("credit") for row in batch)
    if empty:
        yield f"{counted(empty, 'rows')} with an empty column credit"
    credits = array("Q", (_hash(each.image_id, each.license) for each in read_credits(folder.path / CREDITS)))
    stored, credited = np.array(rows, np.uint64), np.array(credits, np.uint64)
    if count := len(stored) - len(np.unique(stored)):
        yield f"{counted(count, 'rows')} repeat an image"
    missing = ~np.isin(stored, credited)
    if missing.any():
        names = [str(row.get("image_id")) for row in _at(folder, missing)]
        yield f"{counted(int(missing.sum()), 'images')} without a credit that states their licence: {some(names)}"
    others = int((~np.isin(credited, stored)).sum())
    if others:
        yield f"{CREDITS} has {counted(others, 'lines')} for images that are not in the folder"


def _hash(image_id: object, license: object) -> int:
    return id_hash(f"{image_id}\n{license}")


def _at(folder: CheckedData, chosen: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    done = 0
    for batch in folder.batches(COLUMNS):
        yield from (batch[place] for place in np.flatnonzero(chosen[done : done + len(batch)]))
        done += len(batch)


def _removed(folder: CheckedData) -> Iterator[str]:
    """No row is in the folder's own list of removed images."""
    if not (folder.path / REMOVED).is_file():
        raise NotChecked(f"there is no {REMOVED}")
    listed = list(listed_rows(folder, read_removed(folder.path)))
    if listed:
        yield f"{counted(len(listed), 'images')} that {REMOVED} lists: {some(listed)}; delete these rows"


def _takedowns(folder: CheckedData) -> Iterator[str]:
    """No row was taken down from the catalog since."""
    if folder.catalog is None:
        raise NotChecked("name the catalog with --catalog")
    gone = [str(row["image_id"]) for row in taken_down_rows(folder, taken_down([folder.catalog]))]
    if gone:
        yield f"{counted(len(gone), 'images')} taken down since: {some(gone)}; release it again without them"


def _croissant(folder: CheckedData) -> Iterator[str]:
    """croissant.json can be read, and describes the files that are there."""
    path = folder.path / CROISSANT
    if not path.is_file():
        raise NotChecked(f"there is no {CROISSANT}")
    try:
        mlcroissant = load_mlcroissant()
    except MissingExtraError as error:
        raise NotChecked(str(error)) from error
    written = json.loads(path.read_text(encoding="utf-8"))
    if VERSION not in np.atleast_1d(written.get("conformsTo", [])):
        yield f"{CROISSANT} does not say that it conforms to {VERSION}"
        return
    if _remote(written):
        yield f"{CROISSANT} loads its context from elsewhere; write it into the file"
        return
    found = mlcroissant.Dataset(jsonld=str(path)).metadata
    yield from sorted({*map(one_line, found.issues.errors), *map(one_line, found.issues.warnings)})
    sums = read_sums(folder.path)
    described = {each.content_url: each.sha256 for each in found.file_objects}
    yield from (
        f"{CROISSANT} states another digest of {name} than {SUMS}"
        for name, digest in described.items()
        if sums.get(name) != digest
    )
    names = (shard.relative_to(folder.path).as_posix() for shard in folder.shards)
    yield from (f"{CROISSANT} does not describe {name}" for name in names if name not in described)


def _remote(node: Any) -> bool:
    """Whether a JSON-LD document loads a context from another place."""
    if isinstance(node, list):
        return any(map(_remote, node))
    if not isinstance(node, dict):
        return False
    context = node.get("@context", {})
    parts = context if isinstance(context, list) else [context]
    return (
        "@import" in node
        or not all(isinstance(part, dict) for part in parts)
        or any(map(_remote, node.values()))
    )


def _as_set(names: Any) -> set[str]:
    return {names} if isinstance(names, str) else set(names or ())


CHECKS: dict[str, Callable[[CheckedData], Iterator[str]]] = {
    "files": _files,
    "sums": _sums,
    "formats": _formats,
    "licence": _license,
    "credits": _credits,
    "removed": _removed,
    "takedowns": _takedowns,
    "croissant": _croissant,
}
