"""The files of a catalog, in a folder or an object store: those that Lance has written, and our own few beside them."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyarrow import fs

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import why

FOLDER = "_commoncanvas"
"""Our own files are in here, where a copy or a move of the catalog takes them along; Lance leaves it alone."""
CHUNK = 1 << 23


class Storage:
    """The files of a table, in a folder or an object store."""

    def __init__(self, uri: str, storage_options: dict[str, str] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.filesystem, root = _filesystem(without_password(uri), storage_options or {})
        self.root = root.rstrip("/")

    def files(self, folder: str = "") -> dict[str, int]:
        """Path under the root -> bytes, of everything in `folder`; none if there is no such folder."""
        place = f"{self.root}/{folder}".rstrip("/")
        selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return {info.path.removeprefix(self.root).lstrip("/"): info.size for info in found}

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
            data: bytes = file.read()
        return data

    def write(self, path: str, data: bytes) -> None:
        """A file that appears complete or not at all, in place of one there is; of several at once the last stays.

        Raises CatalogError where it can't be written.
        """
        whole = f"{self.root}/{path}"
        # An object store shows an object when it is complete.
        partial = f"{whole}.{uuid.uuid4()}.part" if isinstance(self.filesystem, fs.LocalFileSystem) else whole
        try:
            self.filesystem.create_dir(whole.rpartition("/")[0], recursive=True)
            with self.filesystem.open_output_stream(partial) as file:
                file.write(data)
            if partial != whole:
                self.filesystem.move(partial, whole)
        except OSError as error:
            if partial != whole:
                with suppress(OSError):
                    self.filesystem.delete_file(partial)
            raise CatalogError(f"{self.uri}/{path} can't be written: {why(error)}") from error

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.root}/{path}")

    def delete_folder(self, folder: str) -> None:
        """And everything in it; those above stay."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(f"{self.root}/{folder}")

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, CHUNK at a time; none if it has gone meanwhile."""
        try:
            with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except FileNotFoundError:
            return


def without_password(uri: str) -> str:
    """`uri` itself. Raises CatalogError if it has a password in it, which would stand in messages and records."""
    # A password may have a slash or a question mark in it; no bucket or folder is called with a colon before an @.
    if re.match(r"[^/?#]+://(?:[^/?#]*|[^/?#@]*:.*)@", uri):
        shown = f"{uri.partition('://')[0]}://{uri.rpartition('@')[2]}"
        raise CatalogError(
            f"{shown} was given with a user or a password in front of the @; leave them out of the address and set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of your store"
        )
    return uri


def _filesystem(uri: str, options: dict[str, str]) -> tuple[Any, str]:
    """As `pyarrow.fs` names it, with the options that Lance knows an S3 store by."""
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).absolute())
    scheme, _, rest = uri.partition("://")
    if not scheme.startswith("s3"):
        filesystem, root = fs.FileSystem.from_uri(uri)
        return filesystem, root

    def option(name: str) -> str | None:
        spellings = (name, f"aws_{name}")
        given = next((options[each] for each in spellings if each in options), None)
        return given or os.environ.get(f"AWS_{name.upper()}")

    endpoint = option("endpoint") or option("endpoint_url")
    arguments = {
        "access_key": option("access_key_id"),
        "secret_key": option("secret_access_key"),
        "session_token": option("session_token"),
        "region": option("region"),
        "endpoint_override": endpoint,
        "scheme": "http" if (endpoint or "").startswith("http://") else "https",
    }
    return fs.S3FileSystem(**{name: value for name, value in arguments.items() if value}), rest
