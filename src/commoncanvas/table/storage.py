"""The files of a catalog, in a folder or an object store: Lance's files and a few of our own."""

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
from commoncanvas.core.files import sync, why

FOLDER = "_commoncanvas"
"""Folder of our own files, inside the catalog: it is copied and moved with it. Lance ignores it."""
CHUNK = 1 << 23


class Storage:
    """The files of a table, in a folder or an object store."""

    def __init__(self, uri: str, storage_options: dict[str, str] | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.filesystem, root = _filesystem(without_password(uri), storage_options or {})
        self.root = root.rstrip("/")

    def files(self, folder: str = "") -> dict[str, int]:
        """Path under the root -> size in bytes, of all files in `folder`; empty if the folder is missing."""
        place = f"{self.root}/{folder}".rstrip("/")
        selector = fs.FileSelector(place, allow_not_found=True, recursive=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return {info.path.removeprefix(self.root).lstrip("/"): info.size for info in found}

    def read(self, path: str) -> bytes:
        with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
            data: bytes = file.read()
        return data

    def write(self, path: str, data: bytes) -> None:
        """Write or replace a file atomically, even with a power cut. If several processes write it, the last one wins.

        Raises CatalogError if it can't be written.
        """
        whole = f"{self.root}/{path}"
        # In an object store, an object becomes visible when it is complete.
        partial = f"{whole}.{uuid.uuid4()}.part" if isinstance(self.filesystem, fs.LocalFileSystem) else whole
        try:
            self.filesystem.create_dir(whole.rpartition("/")[0], recursive=True)
            with self.filesystem.open_output_stream(partial) as file:
                file.write(data)
            if partial != whole:
                sync(Path(partial), deep=False)
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
        """Delete `folder` and everything in it. Its parents stay."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_dir(f"{self.root}/{folder}")

    def chunks(self, path: str) -> Iterator[bytes]:
        """A file's bytes, CHUNK at a time; none if the file no longer exists."""
        try:
            with self.filesystem.open_input_file(f"{self.root}/{path}") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except FileNotFoundError:
            return


def without_password(uri: str) -> str:
    """`uri` itself. Raises CatalogError if it contains a password: messages and records would show it."""
    # A password may contain a slash or a question mark. No bucket or folder has a colon before an @ in its name.
    if re.match(r"[^/?#]+://(?:[^/?#]*|[^/?#@]*:.*)@", uri):
        shown = f"{uri.partition('://')[0]}://{uri.rpartition('@')[2]}"
        raise CatalogError(
            f"{shown} has a user or a password before the @; remove them from the URI and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or the variables of your store"
        )
    return uri


def _filesystem(uri: str, options: dict[str, str]) -> tuple[Any, str]:
    """The `pyarrow.fs` filesystem and path of `uri`. `options`: Lance's storage options for S3."""
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
