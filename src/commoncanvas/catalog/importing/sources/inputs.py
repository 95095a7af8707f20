"""The files that a source is given: paths and folders become a fixed list, checked before the first row is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.core.errors import SourceError


def input_files(options: SourceOptions, source: str, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """The files that `source` was given, folders searched for `suffixes`, in a fixed order, each once.

    Raises SourceError, before anything is read, for a path that isn't there or holds no such file.
    """
    paths = options.paths
    wanted = ", ".join(suffixes)
    if not paths:
        raise SourceError(f"source {source} needs the PATH of one or more files or folders ({wanted})")
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = list(files_within(path, suffixes))
            if not found:
                raise SourceError(f"{path} has no file that source {source} reads ({wanted})")
            files += found
        elif not path.is_file():
            raise SourceError(f"{path} is neither a file nor a folder; give source {source} one ({wanted})")
        elif path.suffix.lower() not in suffixes:
            raise SourceError(f"{path} is of no kind that source {source} reads; it must be one of: {wanted}")
        else:
            files.append(path)
    return tuple(dict.fromkeys(files))


def collections(options: SourceOptions, files: Sequence[Path], source: str) -> dict[Path, tuple[str, ...]]:
    """Each file's folder -> the collection that it is in, for ids: `options.name` or the given folder's own name,
    then the folders on the way from there.

    Raises SourceError where two folders would have one name, and the ids of one hide those of the other.
    """
    roots = [_absolute(path) for path in options.paths if path.is_dir()]
    names: dict[Path, tuple[str, ...]] = {}
    for folder in dict.fromkeys(_absolute(file.parent) for file in files):
        root = next((root for root in roots if folder.is_relative_to(root)), folder)
        name = (options.name or root.name, *folder.relative_to(root).parts)
        if name in names.values():
            raise SourceError(
                f"source {source} was given two folders called {'/'.join(name)}; "
                "import them one by one, each with a --name of its own"
            )
        names[folder] = name
    return {file.parent: names[_absolute(file.parent)] for file in files}


def _absolute(path: Path) -> Path:
    """Without `..`, but through symbolic links by the name that was given."""
    return Path(os.path.normpath(path.absolute()))


def files_within(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """The files under `folder` with these suffixes, in a fixed order, hidden ones left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            yield path


def whole(value: Any) -> int | None:
    """A number of pixels that fits the catalog's columns; None for anything else."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value) if len(value.strip()) < 11 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < 1 << 31 else None
