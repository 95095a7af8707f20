"""A takedown request, and the rows of a catalog that it matches."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from commoncanvas.core.errors import CatalogError, ImageError, NoSuchCreatorError
from commoncanvas.core.files import why
from commoncanvas.core.redact import redacted
from commoncanvas.core.text import counted
from commoncanvas.creators.matching import Addresses, Who, called, name_hash
from commoncanvas.creators.names import near_marks, normal_name
from commoncanvas.creators.urls import normal_url, user_id
from commoncanvas.images.image import phash
from commoncanvas.images.tasks import look
from commoncanvas.table.byte_search import windows
from commoncanvas.table.namesakes import naming
from commoncanvas.table.purge import matching_rows, not_deleted
from commoncanvas.table.rows import take_rows
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import COLUMNS, Keys, Tombstones

NEAR_BITS = 8
"""Two images look alike if their perceptual hashes (64 bits) differ in at most so many bits."""
READ_AT_ONCE = 64
NAMED = 5
"""Most people that a message names. A URL with more creator names than this belongs to no single person."""


@dataclass(frozen=True)
class Request:
    """A takedown request, before any table is read."""

    ids: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    creator: str | None = None
    files: Mapping[str, str] | None = None
    """sha256 of an image file -> its path."""
    phashes: tuple[int, ...] = ()
    """Perceptual hashes of `files`, in the same order."""

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        creator: str | None,
        urls: Sequence[str],
        list_file: str | Path | None,
        files: Sequence[str | Path],
    ) -> Request:
        """Make a request, and read its files. Raises CatalogError, also for an empty id, URL or creator."""
        ids, urls = ([text.strip() for text in texts] for texts in (ids, urls))
        creator = None if creator is None else creator.strip()
        if "" in (*ids, *urls, creator):
            # A script may have an unset variable. Without an error, the user would think that the images are removed.
            raise CatalogError("an id, URL or creator to take down is empty; give a value, or leave it out")
        listed = _lines(list_file) if list_file is not None else []
        images = {hashlib.sha256(data := _read(path)).hexdigest(): (str(path), data) for path in files}
        return cls(
            (*ids, *(line for line in listed if "://" not in line)),
            (*urls, *(line for line in listed if "://" in line)),
            creator,
            {digest: path for digest, (path, _) in images.items()},
            tuple(_phash(path, data) for path, data in images.values()),
        )

    def __bool__(self) -> bool:
        return bool(self.ids or self.urls or self.creator or self.files)

    def keys(self) -> Keys:
        """The keys of the request, without a creator's name: several people may have the same name."""
        return Keys(
            image_ids=frozenset(self.ids),
            urls=frozenset(self.urls),
            sha256s=frozenset(self.files or ()),
            creator_urls=frozenset({self.creator} if self.creator else ()),
        )

    def mask(self, rows: pa.Table) -> NDArray[np.bool_]:
        """[N] True for the rows that the request matches."""
        found = self.keys().mask(rows)
        if self.creator:
            found |= called(rows["creator"], self.creator)
        return found


@dataclass(frozen=True)
class Found:
    """The rows of a request. Tables have COLUMNS and `_rowid`; some also have `_rowaddr`."""

    rows: pa.Table
    """Rows to remove, in the newest version."""
    copies: int
    """Number of `rows` that match only because their file is the same, byte for byte."""
    near: dict[str, int]
    """Rows that look alike and stay -> bits in which the perceptual hashes differ."""
    namesakes: dict[str, int]
    """People who may be the requested creator, and whose rows stay -> number of rows."""
    tags: dict[str, int]
    """Tag -> matching rows in its version."""
    elsewhere: dict[int, pa.Table]
    """Version of a tag -> matching rows that the newest version no longer has."""
    shared: frozenset[str]
    """Normalised URLs of these rows that other rows have too. They can't be used to keep rows out."""
    creators: tuple[dict[str, Any], ...]
    """Tombstones of creators."""
    unknown: tuple[str, ...]
    """Parts of the request that match no row and no tombstone."""


def find(catalog: Catalog, request: Request, stones: Tombstones, near: bool) -> Found:
    """The rows that this or an earlier request matches. Raises CatalogError if the creator is unknown or ambiguous."""
    direct = _scan(catalog, lambda rows: request.mask(rows) | stones.keys.mask(rows))
    names = _names(request, direct)
    creators = _creators(catalog, request, stones, direct, names)
    copies, alike, bits, shared, namesakes = _related(catalog, request, direct, names)
    rows = pa.concat_tables([direct, copies, *([alike] if near else [])])
    tags, elsewhere = _in_tags(catalog, request, stones, rows)
    everywhere = pa.concat_tables(
        [rows.select(COLUMNS), *(each.select(COLUMNS) for each in elsewhere.values())]
    )
    return Found(
        rows,
        len(copies),
        {} if near else bits,
        namesakes,
        tags,
        elsewhere,
        shared,
        creators,
        _unknown(request, stones, everywhere),
    )


def tombstones(catalog: Catalog, request: Request, found: Found) -> list[dict[str, Any]]:
    """The tombstones of a request (see tombstones.SCHEMA). Reads the images, so call it before they are deleted."""
    stones: list[dict[str, Any]] = [*found.creators]
    for version, rows in [(catalog.version, found.rows), *found.elsewhere.items()]:
        dataset = catalog.dataset.checkout_version(version)
        for start in range(0, len(rows), READ_AT_ONCE):
            part = rows.slice(start, READ_AT_ONCE)
            ids = part["_rowid"].to_numpy()
            images = take_rows(dataset, ids, ["image_id", "image"]).to_pylist()
            hashes = {row["image_id"]: windows(row["image"] or b"") for row in images}
            stones += [_stone(row, hashes, found.shared) for row in part.to_pylist()]
    unknown = set(found.unknown)
    stones += [{"image_id": id, "source": id.partition(":")[0]} for id in request.ids if id in unknown]
    stones += [{"page_url": url} for url in request.urls if url in unknown]
    files = zip((request.files or {}).items(), request.phashes, strict=True)
    stones += [{"sha256": digest, "phash": value} for (digest, path), value in files if path in unknown]
    return stones


def _stone(row: dict[str, Any], hashes: Mapping[str, list[int]], shared: frozenset[str]) -> dict[str, Any]:
    stone = {name: row[name] for name in ("image_id", "source", "sha256", "phash")}
    for name in ("page_url", "image_url"):
        url = row[name]
        if url is not None and normal_url(url) not in shared:
            stone[name] = url
    return {**stone, "windows": hashes.get(row["image_id"], [])}


def _scan(catalog: Catalog, mask: Callable[[pa.Table], NDArray[np.bool_]]) -> pa.Table:
    """COLUMNS and `_rowid` of the rows that `mask` selects."""
    parts = [
        pa.schema([*(catalog.schema.field(name) for name in COLUMNS), ("_rowid", pa.uint64())]).empty_table()
    ]
    for batch in catalog.scan(COLUMNS, batch_size=65536, with_row_id=True):
        rows = pa.Table.from_batches([batch])
        parts.append(rows.filter(pa.array(mask(rows))).cast(parts[0].schema))
    return pa.concat_tables(parts)


def _names(request: Request, rows: pa.Table) -> frozenset[str]:
    """The requested creator's names in normal form; empty if there are more than NAMED."""
    if not request.creator:
        return frozenset()
    mine = rows.filter(pa.array(Request(creator=request.creator).mask(rows)))
    names = {normal_name(name) for name in pc.unique(mine["creator"]).drop_null().to_pylist()}
    return frozenset(names if len(names) <= NAMED else ())


def _creators(
    catalog: Catalog, request: Request, stones: Tombstones, rows: pa.Table, names: frozenset[str]
) -> tuple[dict[str, Any], ...]:
    """Tombstones of the requested creator, whose names are `names`."""
    name = request.creator
    if not name:
        return ()
    mine = rows.filter(pa.array(Request(creator=name).mask(rows)))
    urls = {normal_url(url): url for url in mine["creator_url"].to_pylist() if url}
    lasting = "://" in name or "@" in name  # a URL, or an id that identifies one person everywhere
    if len(urls) > 1 and not lasting:
        some = sorted(urls.values())[:NAMED]
        raise CatalogError(
            f"creator {name} matches {len(urls)} people in {catalog.uri}: {', '.join(map(redacted, some))}; "
            "pass --creator with one of these URLs"
        )
    if _is_known(name, stones.keys):
        return ()
    if not len(mine) and not lasting:
        raise NoSuchCreatorError(
            f"no row of {catalog.uri} is by creator {name}{_similar(catalog, name)}; to keep a person out in advance, "
            "pass their URL"
        )
    near = sorted(set[int]().union(*map(near_marks, names)))
    return (
        *({"creator_url": url, "creator_near": near} for url in urls.values()),
        *([{"creator_url": name, "creator_near": near}] if lasting else []),
        *([{"creator_sha256": name_hash(name), "creator_near": near}] if normal_name(name) in names else []),
    )


def _similar(catalog: Catalog, name: str) -> str:
    """Creators with a similar name, in words; empty if there are none."""
    keys = Keys(creator_near=frozenset(near_marks(name)))
    people = Counter(naming(_scan(catalog, keys.near)))
    listed = ", ".join(f"{who}: {counted(rows, 'rows')}" for who, rows in people.most_common(NAMED))
    return f" (similar names: {listed})" if listed else ""


def _is_known(creator: str, keys: Keys) -> bool:
    """Whether a name, URL or user id belongs to a person who was taken down."""
    if "://" in creator:
        return keys.people.who(None, creator) is Who.SAME
    ids = {user_id(url) for url in keys.creator_urls}
    return keys.people.who(creator, None) is Who.SAME or user_id(creator) in ids


def _related(
    catalog: Catalog, request: Request, rows: pa.Table, names: frozenset[str]
) -> tuple[pa.Table, pa.Table, dict[str, int], frozenset[str], dict[str, int]]:
    """From the rows that are not in `rows`: exact copies; rows that look alike; their distances in bits; URLs that both
    have; people with a name similar to one of `names`, with their number of rows.
    """
    same = Keys(sha256s=frozenset(pc.unique(rows["sha256"]).drop_null().to_pylist()))
    urls = Addresses(
        pa.concat_arrays([pc.unique(rows[name]) for name in ("page_url", "image_url")])
        .drop_null()
        .to_pylist()
    )
    people = Keys(creator_near=frozenset[int]().union(*map(near_marks, names)))
    hashes = np.array(request.phashes, np.uint64)
    removed = set(rows["image_id"].to_pylist())
    duplicates = ["duplicate_of"] if "duplicate_of" in catalog.schema.names else []
    copies, alike = [rows.slice(0, 0)], [rows.slice(0, 0)]
    bits: dict[str, int] = {}
    shared: set[str] = set()
    namesakes: Counter[str] = Counter()
    for batch in catalog.scan([*COLUMNS, *duplicates], batch_size=65536, with_row_id=True):
        part = pa.Table.from_batches([batch])
        others = part.filter(pa.array(~np.isin(part["_rowid"].to_numpy(), rows["_rowid"].to_numpy())))
        mask = same.mask(others)
        copies.append(others.filter(pa.array(mask)).select(rows.column_names).cast(rows.schema))
        others = others.filter(pa.array(~mask))
        namesakes.update(naming(others.filter(pa.array(people.near(others)))))
        distance = _distance(others["phash"], hashes)
        close = distance <= NEAR_BITS
        if duplicates:
            close |= np.array([each in removed for each in others["duplicate_of"].to_pylist()], np.bool_)
        alike.append(others.filter(pa.array(close)).select(rows.column_names).cast(rows.schema))
        bits |= dict(zip(alike[-1]["image_id"].to_pylist(), distance[close].tolist(), strict=True))
        for name in ("page_url", "image_url"):
            given = others[name].filter(pa.array(urls.mask(others[name])))
            shared.update(map(normal_url, given.to_pylist()))
    return (
        pa.concat_tables(copies),
        pa.concat_tables(alike),
        bits,
        frozenset(shared),
        dict(namesakes.most_common()),
    )


def _distance(phashes: pa.ChunkedArray, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
    """[N] bits between each hash and the nearest of `wanted`; 64 for a row without a hash."""
    valid = phashes.is_valid().to_numpy()
    values = pc.fill_null(phashes, 0).to_numpy().astype(np.uint64)
    nearest = np.full(len(values), 64, np.int64)
    for each in wanted:
        nearest = np.minimum(nearest, np.bitwise_count(values ^ each).astype(np.int64))
    return np.where(valid, nearest, 64)


def _in_tags(
    catalog: Catalog, request: Request, stones: Tombstones, rows: pa.Table
) -> tuple[dict[str, int], dict[int, pa.Table]]:
    images = frozenset(rows["image_id"].to_pylist())
    keys = request.keys() | stones.keys | Keys(image_ids=images)
    seen, counts, elsewhere = set(images), dict[str, int](), dict[int, pa.Table]()
    for tag, version in catalog.tags().items():
        tagged = not_deleted(matching_rows(catalog.dataset.checkout_version(version), keys, COLUMNS))
        if not len(tagged):
            continue
        counts[tag] = len(tagged)
        new = [image_id not in seen for image_id in tagged["image_id"].to_pylist()]
        if any(new):
            elsewhere[version] = tagged.filter(pa.array(new))
            seen.update(elsewhere[version]["image_id"].to_pylist())
    return counts, elsewhere


def _unknown(request: Request, stones: Tombstones, rows: pa.Table) -> tuple[str, ...]:
    known = stones.keys
    ids = set(rows["image_id"].to_pylist()) | known.image_ids
    addresses = [*rows["page_url"].to_pylist(), *rows["image_url"].to_pylist(), *known.urls]
    urls = Addresses(address for address in addresses if address)
    digests = set(rows["sha256"].to_pylist()) | known.sha256s
    return (
        *(id for id in request.ids if id not in ids),
        *(url for url in request.urls if url not in urls),
        *(path for sha256, path in (request.files or {}).items() if sha256 not in digests),
    )


def _lines(path: str | Path) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error) if isinstance(error, OSError) else "it is not UTF-8"
        raise CatalogError(
            f"{path} can't be read: {reason}; give a text file of ids or URLs, one per line"
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise CatalogError(f"image {path} can't be read: {error.strerror or error}") from error


def _phash(path: str | Path, data: bytes) -> int:
    try:
        return phash(look(data))
    except ImageError as error:
        raise CatalogError(
            f"{path} can't be read as an image: {error}; give the file as it was published"
        ) from error
