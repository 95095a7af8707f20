"""Input files of a source: paths and folders become a fixed list, which is checked before any row is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from commoncanvas.catalog.export_folder import lists_removed
from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.core.errors import SourceError


def input_files(options: SourceOptions, source: str, suffixes: Sequence[str]) -> tuple[Path, ...]:
    """List the input files of `source`, each once, in a fixed order. Folders are searched for `suffixes`.

    Raises SourceError if a path doesn't exist or has no such file.
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
            raise SourceError(f"{path} is neither a file nor a folder; source {source} needs one ({wanted})")
        elif path.suffix.lower() not in suffixes:
            raise SourceError(f"source {source} can't read {path}; its name must end in one of: {wanted}")
        else:
            files.append(path)
    return tuple(dict.fromkeys(files))


def collections(options: SourceOptions, files: Sequence[Path], source: str) -> dict[Path, tuple[str, ...]]:
    """Each file's folder -> its collection, for ids: `options.name` or the name of the given folder, then the
    subfolders below it.

    Raises SourceError if two folders have the same collection, since their ids could be equal.
    """
    roots = [_absolute(path) for path in options.paths if path.is_dir()]
    names: dict[Path, tuple[str, ...]] = {}
    for folder in dict.fromkeys(_absolute(file.parent) for file in files):
        root = next((root for root in roots if folder.is_relative_to(root)), folder)
        name = (options.name or root.name, *folder.relative_to(root).parts)
        if name in names.values():
            raise SourceError(
                f"source {source} got two folders with the name {'/'.join(name)}; "
                "import them separately, each with its own --name"
            )
        names[folder] = name
    return {file.parent: names[_absolute(file.parent)] for file in files}


def _absolute(path: Path) -> Path:
    """An absolute path without `..`; symbolic links keep their names."""
    return Path(os.path.normpath(path.absolute()))


def files_within(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """The files below `folder` with these suffixes, in a fixed order, without hidden files and an export's list of what
    was removed.
    """
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in suffixes and not hidden and path.is_file() and not lists_removed(path):
            yield path


def sizes(record: Mapping[str, Any], prefix: str = "original_") -> dict[str, int | None]:
    """The original's width and height, from the fields of a record that begin with `prefix`."""
    return {f"original_{side}": whole(record.get(f"{prefix}{side}")) for side in ("width", "height")}


def whole(value: Any) -> int | None:
    """A number of pixels as a positive 32-bit integer; None for anything else."""
    value = fields.single(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        value = int(value) if len(value.strip()) < 11 else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < 1 << 31 else None
