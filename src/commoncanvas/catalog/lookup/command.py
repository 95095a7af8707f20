"""Look-up: find who made an image, by file, by picture, by id, by address or by creator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.catalog.credits import COLUMNS, Credit, credit
from commoncanvas.catalog.lookup.overlay import Difference, Target
from commoncanvas.catalog.lookup.picture import Picture
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.redact import redacted
from commoncanvas.core.text import one_line
from commoncanvas.images.copies import Candidate, find_candidates, make_query
from commoncanvas.table.sql import listed, quoted
from commoncanvas.table.table import Catalog
from commoncanvas.table.takedown_request import Request
from commoncanvas.table.tombstones import Keys

if TYPE_CHECKING:
    from rich.console import RenderableType

LIMIT = 20
_CREATOR = pa.schema([("creator", pa.string()), ("creator_url", pa.string())])
TIE = 1.0
"""A picture still matches if its difference is at most this many levels (of 255) above that of the nearest one."""


@dataclass(frozen=True)
class Match:
    """A row that matches the query.

    `how` is exact (the same file), same picture (maybe mirrored), id, url or creator. For the same picture, `distance`
    of the `bits` compared bits of the perceptual hash differ, and `difference` is the root mean square of the pixel
    differences, in levels of 255.
    """

    how: str
    credit: Credit
    distance: int | None = None
    bits: int | None = None
    difference: float | None = None

    @property
    def description(self) -> str:
        """`how`, with the differences."""
        if self.distance is None:
            return self.how
        return f"{self.how}, distance {self.distance} of {self.bits} bits, {self.difference:.1f} levels"


@dataclass(frozen=True, repr=False)
class LookupReport(Printed):
    """The query and its matches, best first: at most `limit` of `total`."""

    uri: str
    version: int
    asked: str
    total: int
    matches: tuple[Match, ...]

    def to_dict(self) -> dict[str, Any]:
        matches = [
            {**asdict(match), "credit": {**asdict(match.credit), "text": match.credit.text()}}
            for match in self.matches
        ]
        return {**asdict(self), "matches": matches}

    def render(self) -> RenderableType:
        """What the terminal shows: the credit line, ready to copy, and below it how the match was found."""
        from rich.console import Group
        from rich.text import Text

        if not self.matches:
            return Text(f"nothing in {self.uri} (version {self.version}) matches {self.asked}")
        lines = [
            Text(f"{match.credit.text()}\n  {match.description}: {match.credit.image_id}", overflow="fold")
            for match in self.matches
        ]
        if self.total > len(self.matches):
            lines.append(Text(f"and {self.total - len(self.matches):,} more"))
        return Group(*lines)


def lookup(
    catalog: Catalog | str | Path,
    what: str | Path | bytes | Picture | None = None,
    *,
    creator: str | None = None,
    limit: int = LIMIT,
    files: bool = True,
) -> LookupReport:
    """Find the rows for `what`: a file or its bytes, the URL of a page or an image, or an image_id. `creator` (a name,
    an address or a user id, in any spelling) alone finds all rows of a person. Both together find the matches by that
    creator.

    A file is searched by its exact bytes, then by its picture, then by its mirrored picture. The picture may be
    resized, recompressed, or cropped by up to 5 % of its width and height. A process reads the hashes of a version
    only once. `files`: whether a text may be the path of a file; False for texts of strangers.

    Raises CatalogError if both arguments are missing, if the file doesn't exist, or if it is not an image.
    """
    if not (what or creator) or limit < 1:
        raise CatalogError(
            "give a file, an image_id, a URL or a creator to look up, and a limit of 1 or more"
        )
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    if isinstance(what, bytes):
        what = Picture(what)
    if what is None:
        row_ids = _matching(catalog, ("creator", "creator_url"), Request(creator=creator).mask)
        matches, total = _taken(catalog, row_ids[:limit], "creator"), len(row_ids)
    else:
        found = _find(catalog, what, files)
        matches = [match for match in found if creator is None or _made(match, creator)]
        total = len(matches)
    shown = what.name if isinstance(what, Picture) else what
    asked = redacted(" by ".join(str(part) for part in (shown, creator) if part))
    return LookupReport(catalog.uri, catalog.version, asked, total, tuple(matches[:limit]))


@dataclass(frozen=True)
class _Index:
    """The data of one table version to compare files with: 24 bytes per row."""

    row_ids: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    files: NDArray[np.uint64]
    """The first 64 bits of each sha256."""


def _index(catalog: Catalog) -> _Index:
    options = tuple(sorted((catalog.storage_options or {}).items()))
    return _read_index(catalog.uri, catalog.version, options)


@lru_cache(maxsize=8)
def _read_index(uri: str, version: int, storage_options: tuple[tuple[str, str], ...]) -> _Index:
    catalog = Catalog.open(uri, version, dict(storage_options) or None)
    # In batches: a million sha256 digests as text take 64 MB.
    parts = [
        (batch["_rowid"].to_numpy(), batch["phash"].to_numpy(), _prefixes(batch["sha256"]))
        for batch in catalog.scan(
            ["phash", "sha256"], "phash IS NOT NULL AND sha256 IS NOT NULL", 1 << 16, with_row_id=True
        )
    ]
    empty = np.empty(0, np.uint64)
    return (
        _Index(*(np.concatenate([empty, *column]) for column in zip(*parts, strict=True)))
        if parts
        else _Index(empty, empty, empty)
    )


def _prefixes(files: pa.Array) -> NDArray[np.uint64]:
    return np.array([_prefix(file) for file in files.to_pylist()], np.uint64)


def _prefix(file: str) -> int:
    """The first 64 bits of a sha256; 0 for an invalid one, which then matches no file."""
    try:
        return int(file[:16], 16)
    except ValueError:
        return 0


def _find(catalog: Catalog, what: str | Path | Picture, files: bool) -> list[Match]:
    if isinstance(what, Picture):
        return _by_file(catalog, what)
    text = str(what)
    if isinstance(what, Path) or (files and _is_file(text)):
        return _by_file(catalog, Picture(Path(what).read_bytes(), text))
    if "://" in text:
        forms = listed(_same_addresses(text))
        # Likely spellings are found quickly; for other spellings the whole column is read.
        return _rows(catalog, f"page_url IN ({forms}) OR image_url IN ({forms})", "url") or _taken(
            catalog, _matching(catalog, ("page_url", "image_url"), Keys(urls=frozenset({text})).mask), "url"
        )
    found = _rows(catalog, f"image_id = {quoted(text)}", "id")
    if not found and files and (":" not in text or text.startswith((".", "/", "~"))):
        raise CatalogError(
            f"there is no file or image_id {one_line(text)}; give an image file, an image_id "
            "(SOURCE:ID) or a URL, or a person with --creator"
        )
    return found


def _by_file(catalog: Catalog, picture: Picture) -> list[Match]:
    file, index = picture.sha256, _index(catalog)
    same = index.row_ids[index.files == np.uint64(_prefix(file))]
    rows = [row for row in catalog.take(same, [*COLUMNS, "sha256"]).to_pylist() if row["sha256"] == file]
    if rows:
        return [Match("exact", credit(row)) for row in rows]
    return _by_picture(catalog, index, picture.pixels, "same picture") or _by_picture(
        catalog, index, np.ascontiguousarray(picture.pixels[:, ::-1]), "same picture, mirrored"
    )


def _by_picture(catalog: Catalog, index: _Index, image: NDArray[np.uint8], how: str) -> list[Match]:
    candidates = find_candidates(make_query(image), index.hashes)
    row_ids = index.row_ids[[one.index for one in candidates]]
    images = catalog.take(row_ids, ["image"])["image"].to_pylist()
    target = Target(image)
    compared: list[tuple[Difference, Candidate]] = [
        (target.difference(stored), one)
        for one, stored in zip(candidates, images, strict=True)
        if stored is not None
    ]
    compared.sort(key=lambda pair: (pair[0].mean, pair[1].index))
    # A variant of a drawing can pass as the same, but differs more than the drawing itself: keep only the nearest.
    same = [(difference, one) for difference, one in compared if difference.same]
    near = [(difference, one) for difference, one in same if difference.mean <= same[0][0].mean + TIE]
    credited = catalog.take(index.row_ids[[one.index for _, one in near]], COLUMNS).to_pylist()
    return [
        Match(how, credit(row), one.distance, one.bits, round(difference.mean, 2))
        for row, (difference, one) in zip(credited, near, strict=True)
    ]


def _rows(catalog: Catalog, where: str, how: str) -> list[Match]:
    rows = catalog.table(COLUMNS, where).sort_by("image_id").to_pylist()
    return [Match(how, credit(row)) for row in rows]


def _matching(
    catalog: Catalog, columns: Sequence[str], mask: Callable[[pa.Table], NDArray[np.bool_]]
) -> NDArray[np.uint64]:
    """Row ids of the rows that `mask` selects by `columns`."""
    found = [np.empty(0, np.uint64)]
    for batch in catalog.scan(columns, batch_size=1 << 16, with_row_id=True):
        rows = pa.Table.from_batches([batch])
        found.append(rows["_rowid"].to_numpy()[mask(rows)])
    return np.concatenate(found)


def _taken(catalog: Catalog, row_ids: NDArray[np.uint64], how: str) -> list[Match]:
    rows = catalog.take(row_ids, COLUMNS).sort_by("image_id").to_pylist()
    return [Match(how, credit(row)) for row in rows]


def _made(match: Match, creator: str) -> bool:
    one = pa.table({"creator": [match.credit.creator], "creator_url": [match.credit.creator_url]}, _CREATOR)
    return bool(Request(creator=creator).mask(one).any())


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a file name, or contains a null byte
        return False


def _same_addresses(url: str) -> Iterable[str]:
    """The address with http and https, with and without a final slash."""
    scheme, _, rest = url.partition("://")
    schemes = ("http", "https") if scheme.lower() in ("http", "https") else (scheme,)
    return dict.fromkeys(
        f"{one}://{form}" for one in schemes for form in (rest, rest.rstrip("/"), f"{rest.rstrip('/')}/")
    )
