"""The real images that drawn ones are compared with: a folder, rows of a catalog, or statistics in a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import EvaluationError, ImageError
from commoncanvas.core.files import why
from commoncanvas.evaluation.comparing.statistics import SUFFIX
from commoncanvas.evaluation.image_files import images_in, pixels_of
from commoncanvas.images.image import square
from commoncanvas.provenance.digests import file_sha256
from commoncanvas.table.filters import FETCHED


class Row(NamedTuple):
    """A catalog's row: where the catalog is, its version, and the row's id."""

    uri: str
    version: int
    row_id: int


@dataclass(frozen=True)
class RealImages:
    """Images that can be read one by one, in any process. `side`: they are cut to squares of this size; None: whole."""

    name: str
    places: tuple[Path | Row, ...]
    side: int | None = None

    @property
    def key(self) -> str:
        """Changes when an image is added, removed or changed."""
        places = [
            [str(place), place.stat().st_size, place.stat().st_mtime_ns] if isinstance(place, Path) else place
            for place in self.places
        ]
        return hashlib.sha256(json.dumps([places, self.side]).encode()).hexdigest()[:16]

    @property
    def resize(self) -> str:
        return f"centre square, {self.side} x {self.side}, Lanczos" if self.side else "none"

    def read(self, number: int) -> tuple[NDArray[np.uint8], bytes]:
        """Image `number` [H, W, 3], and the digest of its file. Raises EvaluationError that names it."""
        place = self.places[number]
        try:
            data = place.read_bytes() if isinstance(place, Path) else _stored(place)
            image = pixels_of(data)
        except OSError as error:
            raise EvaluationError(f"{place}: {why(error)}") from error
        except ImageError as error:
            raise EvaluationError(f"{place}: {error}; remove it from the reference") from error
        return square(image, self.side) if self.side else image, hashlib.sha256(data).digest()


@dataclass(frozen=True)
class Statistics:
    """A file of statistics of real images, see `comparing.statistics`. It is of one network."""

    path: Path
    sha256: str

    @property
    def name(self) -> str:
        return self.path.name


def catalog_rows(uri: str) -> RealImages:
    """All fetched images of a catalog. Raises CatalogError, EvaluationError."""
    catalog = Catalog.open(uri)
    ids = catalog.table(["image_id"], where=FETCHED, with_row_id=True)["_rowid"].to_pylist()
    if not ids:
        raise EvaluationError(f"{uri} has no fetched image; run commoncanvas catalog fetch first")
    rows = tuple(Row(catalog.uri, catalog.version, each) for each in ids)
    return RealImages(catalog.uri.rstrip("/").rpartition("/")[2], rows)


def read_reference(source: str) -> RealImages | Statistics:
    """The reference that `source` names: a folder, an .npz file, or catalog:URI.

    Raises EvaluationError, CatalogError, and ImageError for a folder without images.
    """
    if source.startswith("catalog:"):
        return catalog_rows(source.removeprefix("catalog:"))
    path = Path(source)
    if path.suffix == SUFFIX:
        try:
            return Statistics(path, file_sha256(path))
        except OSError as error:
            raise EvaluationError(f"{path}: {why(error)}") from error
    if not path.is_dir():
        raise EvaluationError(
            f"reference {source!r} is not a folder, an .npz file, catalog:URI or heldout; give one of them"
        )
    return RealImages(path.resolve().name, tuple(each.absolute() for each in images_in(path)))


def digest(files: Sequence[bytes]) -> str:
    """One digest for images, from those of their files in any order."""
    return hashlib.sha256(b"".join(sorted(files))).hexdigest()


@lru_cache(4)
def _catalog(uri: str, version: int) -> Catalog:
    return Catalog.open(uri, version=version)


def _stored(row: Row) -> bytes:
    catalog = _catalog(row.uri, row.version)
    (image,) = catalog.take(np.array([row.row_id], np.uint64), ["image"])["image"].to_pylist()
    return image or b""
