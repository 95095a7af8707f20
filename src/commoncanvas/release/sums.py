"""SHA256SUMS of a folder, as `sha256sum --check` reads them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.files import replace_text
from commoncanvas.provenance.digests import file_sha256
from commoncanvas.release.findings import NotChecked

SUMS = "SHA256SUMS"
NONE_KNOWN: Mapping[str, str] = {}


def write_sums(folder: Path, known: Mapping[str, str] = NONE_KNOWN, without: Collection[str] = ()) -> None:
    """Write the digests of all files in `folder`, except in its subfolders `without`. `known`: digests by path of files
    that needn't be read. Raises CommonCanvasError for a name that SHA256SUMS can't hold.
    """
    (folder / f".{SUMS}.part").unlink(missing_ok=True)  # of a call that was killed
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = sorted(path.as_posix() for path in paths if path.parts[0] not in (SUMS, *without))
    if bad := [name for name in names if "\n" in name or "\\" in name]:
        raise CommonCanvasError(f"{folder}: {SUMS} can't hold the name {bad[0]!r}; rename the file")
    lines = [f"{known.get(name) or file_sha256(folder / name)}  {name}\n" for name in names]
    replace_text(folder / SUMS, "".join(lines))


def read_sums(folder: Path) -> dict[str, str]:
    """Name -> digest. Raises NotChecked if there is no SHA256SUMS."""
    path = folder / SUMS
    if not path.is_file():
        raise NotChecked(f"there is no {SUMS}")
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition(" ")
        found[name.removeprefix(" ").removeprefix("*")] = digest
    return found


def wrong_sums(folder: Path) -> Iterator[str]:
    """The files that have other bytes than SHA256SUMS states, or that are missing."""
    for name, digest in read_sums(folder).items():
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            yield f"{name}, in {SUMS}, leads out of the folder"
        elif not file.is_file():
            yield f"{name} is missing"
        elif file_sha256(file) != digest:
            yield f"{name} has other bytes than {SUMS} states"
