"""Export: write images and their provenance in formats for other tools, with a data card and all credits.

The export is written to OUT.partial and renamed to OUT when it is complete. A small record describes each shard. After
a crash, the export continues with the missing shards, from the same version of the catalog.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog.export.papers import Exported, Papers, card_and_croissant, write_papers
from commoncanvas.catalog.export.shards import WRITERS, Writer, columns
from commoncanvas.catalog.export_folder import CARD, PARTIAL, STATE, Shard, finished, record_of, state_of
from commoncanvas.core.console import Printed, progress, say
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import only_one, replace_text
from commoncanvas.core.numbers import size
from commoncanvas.core.tables import count_table
from commoncanvas.core.text import counted, web_address
from commoncanvas.table.filters import conditions_of, open_rows, tagged_filter
from commoncanvas.table.rows import take_rows
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import COLUMNS, Tombstones

if TYPE_CHECKING:
    from rich.console import RenderableType

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?B)?", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


@dataclass(frozen=True)
class ShardSize:
    """Limits: a shard ends with the row that reaches one of them."""

    rows: int | None
    bytes: int | None

    @classmethod
    def of(cls, text: str) -> ShardSize:
        """Parse `1GB` or `500 MB` (of images; of text if there are none) or `10000` (rows). Raises CatalogError."""
        match = _SIZE.fullmatch(text.strip())
        number = float(match[1]) if match else 0.0
        if not match or number < 1 or (match[2] is None and not number.is_integer()):
            raise CatalogError(f"shard size {text!r} is neither a size such as 1GB nor a number of rows")
        if match[2] is None:
            return cls(int(number), None)
        return cls(None, int(number * _UNITS[match[2].lower()]))

    def reached(self, rows: int, size: int) -> bool:
        return (self.rows is not None and rows >= self.rows) or (
            self.bytes is not None and size >= self.bytes
        )


@dataclass(frozen=True, repr=False)
class ExportReport(Printed):
    """What the folder contains. `left_out` counts the other rows of the catalog, by reason."""

    out: str
    format: str
    version: int
    rows: int
    bytes: int
    shards: int
    left_out: dict[str, int]
    licenses: dict[str, int]

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.console import Group
        from rich.text import Text

        title = f"{counted(self.rows, 'images')} in {counted(self.shards, 'shards')} in {self.out}, {size(self.bytes)}"
        left = [f"left out: {count:,} {reason}" for reason, count in self.left_out.items()]
        licences = count_table("licence", self.licenses, self.rows)
        return Group(Text(title), *map(Text, left), *([licences] if licences else []))


def export(
    format: str,
    catalog: Catalog | str | Path,
    out: str | Path,
    *,
    where: str | None = None,
    version: int | str | None = None,
    shard_size: str = "1GB",
    papers: Papers = card_and_croissant,
) -> ExportReport:
    """Write the fetched images that match `where`, from the newest version or from `version` (a number or a tag).

    `where` is SQL or the name of a saved filter. If `version` is the tag of a saved filter: the rows that the filter
    selected then, with the columns that were made since.
    `format` is webdataset (tar files), parquet, huggingface (Parquet with a card that describes the columns), or links
    (Parquet without the images, of those with a web address). Image bytes don't change. A row is never exported if its
    licence is unknown or forbids sharing, or if it was taken down.
    `out` also gets credits.csv and what `papers` writes: README.md (a data card), and croissant.json if mlcroissant is
    installed. Until it is complete, the folder is named `out` plus `.partial`. After a crash, run it again with the
    same arguments: it writes the rest. Raises CatalogError.
    """
    if format not in WRITERS:
        raise CatalogError(f"there is no export format {format}; there are: {', '.join(WRITERS)}")
    size = ShardSize.of(shard_size)
    uri = catalog.uri if isinstance(catalog, Catalog) else str(catalog)
    options = catalog.storage_options if isinstance(catalog, Catalog) else None
    if version is None and isinstance(catalog, Catalog) and catalog.pinned:
        version = catalog.version
    newest = open_rows(uri, version, options)
    newest.count(
        all_of(*conditions_of(newest, where, version))
    )  # an invalid filter fails before a folder is made
    fixed = None if version is None or tagged_filter(newest, version) else newest.version
    folder = _place(out)
    partial = folder.with_name(folder.name + PARTIAL)
    for place in (folder, partial):
        if place.exists() and not (place / STATE).is_dir() and (not place.is_dir() or any(place.iterdir())):
            raise CatalogError(f"{place} already exists and is not an export; choose another folder")
    begun = folder if (folder / STATE).is_dir() else partial
    with only_one(begun / STATE):
        arguments = {"format": format, "where": where, "shard_size": shard_size}
        pinned = _pinned(begun, newest, fixed)
        condition = all_of(*conditions_of(pinned, where, version))
        addresses = not WRITERS[format].images
        ids, left_out = select(pinned, condition, addresses)
        while True:
            if not len(ids):
                if state_of(begun) is None:
                    shutil.rmtree(begun)
                raise CatalogError(f"catalog {uri} has nothing to export: {_reasons(left_out) or 'no rows'}")
            digest = hashlib.sha256(ids.tobytes()).hexdigest()
            _same(begun, {**arguments, "version": pinned.version, "rows": len(ids), "sha256": digest})
            if begun == folder:
                _rename(folder, partial)
            begun = partial
            shards = _write_shards(pinned, ids, partial, format, size)
            exported = Exported(pinned, condition, ids, partial, format, tuple(shards), left_out)
            card = write_papers(exported, folder.name, papers)
            written, (ids, left_out) = ids, select(pinned, condition, addresses)
            if np.array_equal(written, ids):
                break
            removed = counted(len(written) - len(ids), "rows")
            say(f"{removed} taken down during the export; it is written again without them")
            _empty(partial)
        _rename(partial, folder)
    return ExportReport(
        str(out),
        format,
        pinned.version,
        len(ids),
        sum(shard.bytes for shard in shards),
        len(shards),
        left_out,
        card.licenses,
    )


def select(catalog: Catalog, where: str | None, addresses: bool) -> tuple[NDArray[np.uint64], dict[str, int]]:
    """Row ids that may be exported, in table order, and the number of other rows by reason. With `addresses`, only
    images with a web address.
    """
    stones = Tombstones(catalog.uri, catalog.storage_options)
    left_out: Counter[str] = Counter()
    ids = [np.empty(0, np.uint64)]
    known: dict[str | None, licenses.License] = {}
    for batch in catalog.scan([*COLUMNS, "license", "fetch_status"], where, 65536, with_row_id=True):
        rows = pa.Table.from_batches([batch])
        refused = stones.refused(rows)
        chosen = []
        values = (rows[name].to_pylist() for name in ("license", "fetch_status", "image_url"))
        for taken, name, status, url in zip(refused, *values, strict=True):
            license = known.setdefault(name, licenses.parse(name))
            if taken:
                reason = "taken down"
            elif not license.known:
                reason = "unknown licence"
            elif not license.reusable:
                reason = f"licence {license.id}"
            elif status != "ok":
                reason = "not fetched"
            elif addresses and not web_address(url):
                reason = "without a web address"
            else:
                reason = ""
            chosen.append(not reason)
            left_out[reason] += 1
        ids.append(rows["_rowid"].to_numpy()[np.array(chosen, np.bool_)])
    left_out.pop("", None)
    return np.concatenate(ids), dict(left_out.most_common())


def _place(out: str | Path) -> Path:
    """The resolved folder `out`. Raises CatalogError if it can't be replaced by a rename at the end."""
    folder = Path(out).resolve()
    for other, name in ((Path.cwd(), "the current folder"), (Path.home(), "your home folder")):
        if other.resolve().is_relative_to(folder):
            raise CatalogError(f"{out} is {name} or contains it; choose a separate folder")
    if os.path.ismount(folder):  # Path.is_mount fails on Windows
        raise CatalogError(f"{out} is a mount point, which can't be renamed; choose a folder below it")
    return folder


def _empty(folder: Path) -> None:
    """Delete the written files, but keep the lock."""
    shutil.rmtree(folder / "data")
    for path in [*(folder / STATE).glob("*.json"), folder / CARD]:
        path.unlink()


def _rename(folder: Path, name: Path) -> None:
    try:
        folder.rename(name)
    except OSError as error:
        raise CatalogError(
            f"{folder} can't be renamed to {name}: {error.strerror or error}; move {name} away and export again"
        ) from error


def _pinned(folder: Path, newest: Catalog, version: int | None) -> Catalog:
    """The requested version, else the version of the export in `folder`, else the newest."""
    state = state_of(folder)
    chosen = newest.version if state is None or version is not None else state["version"]
    try:
        return Catalog.open(newest.uri, chosen, newest.storage_options)
    except CatalogError as error:
        raise CatalogError(
            f"{folder} was started from version {chosen}, which no longer exists; remove the folder and export again"
        ) from error


def _same(folder: Path, state: dict[str, Any]) -> None:
    """Record the state of this export. Raises CatalogError if the folder holds another export."""
    before = state_of(folder)
    if before is None:
        replace_text(folder / STATE / "state.json", json.dumps(state, indent=2))
    elif before != state:
        different = ", ".join(name for name in state if before.get(name) != state[name])
        raise CatalogError(
            f"{folder} holds another export (different: {different}; rows may have been taken down since); "
            "remove the folder, or choose another"
        )


def _write_shards(
    catalog: Catalog, ids: NDArray[np.uint64], folder: Path, format: str, size: ShardSize
) -> list[Shard]:
    (folder / "data").mkdir(exist_ok=True)
    shards: list[Shard] = []
    start = 0
    with progress("export", len(ids)) as bar:
        while start < len(ids):
            name = f"data/train-{len(shards):05}.{WRITERS[format].ending}"
            shard = finished(folder, name) or _write_shard(
                catalog, ids, start, folder / name, name, format, size
            )
            replace_text(record_of(folder, name), json.dumps(asdict(shard)))
            shards.append(shard)
            start += shard.rows
            bar.advance(shard.rows)
    return shards


def _write_shard(
    catalog: Catalog,
    ids: NDArray[np.uint64],
    start: int,
    path: Path,
    name: str,
    format: str,
    size: ShardSize,
) -> Shard:
    partial = path.with_name(f".{path.name}.part")
    writer = WRITERS[format](partial, catalog.schema)
    rows = bytes_ = 0
    for row in _rows(catalog, ids[start:], WRITERS[format]):
        bytes_ += writer.add(start + rows, row)
        rows += 1
        if size.reached(rows, bytes_):
            break
    writer.close()
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    partial.replace(path)
    return Shard(name, rows, path.stat().st_size, digest)


def _rows(catalog: Catalog, ids: NDArray[np.uint64], writer: type[Writer]) -> Iterator[dict[str, Any]]:
    names = columns(catalog.schema, writer.images)
    for start in range(0, len(ids), writer.read_at_once):
        yield from take_rows(catalog.dataset, ids[start : start + writer.read_at_once], names).to_pylist()


def _reasons(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
