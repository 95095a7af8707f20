"""The image files in a folder: which names count, which links are followed, and what is left out."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

from commoncanvas.table.report import Report

_ENDINGS = "jpg jpeg jpe jfif png webp gif tif tiff svg avif heic heif bmp"
IMAGE_ENDINGS = tuple(_ENDINGS.split())
"""What the names of image files end in, in folders and in tar archives."""

_OTHERS = "jxl jp2 j2k jpx psd psb tga exr hdr ico eps xcf pcx raw dng cr2 cr3 nef arw orf rw2 raf"
OTHER_ENDINGS = frozenset(_OTHERS.split())
"""Of image files that nobody here reads."""

OUTSIDE = "outside the folder"
MISSING = "file missing"
LEADS_OUT = "link out of the folder"
NEARBY = 200
"""Folders below that `better_folder` looks into, at most."""


class ImageFolder:
    """The images under `root`.

    Links to places in the folder are followed; what also has a name without a link there comes once, under that name.
    Links that lead out of the folder are left out, unless `follow_links`.
    """

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root = root
        self.follow_links = follow_links
        self.passed_over: Counter[str] = Counter()
        """Endings of the images that no walk gives since they can't be read."""
        self._real_root = os.path.realpath(root)
        self._prefix = f"{os.fspath(root).rstrip('/')}/"
        self._real_folder = lru_cache(maxsize=1 << 10)(os.path.realpath)

    def walk(self, report: Report) -> Iterator[tuple[str, str]]:
        """(path within the folder, identity of the file) of each image once, in a fixed order.

        The path is posix. Names that begin with a dot are left out; whatever else is left out goes to `report.skip`.
        """
        waiting = [("", self._real_root, False)]
        read: set[str] = set()
        while waiting:
            folder, real_folder, linked = waiting.pop()
            folders = []
            for entry in _entries(self.root / folder, folder, report):
                path, real, through = (
                    f"{folder}/{entry.name}".lstrip("/"),
                    f"{real_folder}/{entry.name}",
                    linked,
                )
                if entry.is_symlink():
                    real, through = os.path.realpath(entry.path), True
                    if not self._usable(path, real, report):
                        continue
                own = self._own_name(real) if through else path
                if is_folder(Path(real)) if through else entry.is_dir():
                    # Each folder behind links is read once: links in a circle come to an end.
                    if not through or (own is None and real not in read):
                        read.add(real)
                        folders.append((path, real, through))
                elif is_image(path) and not (through and own is not None and is_image(own)):
                    if not is_file(Path(real)):
                        report.skip(shown(path), "not a file", "a pipe, a device or a socket")
                    elif not _encodes(path):
                        report.skip(shown(path), "bad encoding", "the file's name is not UTF-8; rename it")
                    else:
                        yield path, own or real
                elif (ending := ending_of(path)) in OTHER_ENDINGS:
                    self.passed_over[ending] += 1
            waiting += reversed(folders)

    def find(self, given: str, start: Path) -> tuple[str, str] | str:
        """(path within the folder, identity of the file) of the image that `given` names from `start` on.

        A word why not, if it lies outside of the folder or isn't there.
        """
        for written in dict.fromkeys((given, given.replace("\\", "/"))):
            # What one system writes as one character may be two in another's file names.
            for form in dict.fromkeys(
                (written, unicodedata.normalize("NFC", written), unicodedata.normalize("NFD", written))
            ):
                image = os.path.normpath(form if form.startswith("/") else f"{start}/{form}")
                if not image.startswith(self._prefix):
                    return OUTSIDE
                if is_file(path := Path(image)):
                    real = self.real(path)
                    return (
                        LEADS_OUT
                        if self.leads_out(real)
                        else (image[len(self._prefix) :], self.identity(real))
                    )
        return MISSING

    def real(self, path: Path) -> str:
        """The path of a file of the folder without links."""
        if path.is_symlink():
            return os.path.realpath(path)
        return f"{self._real_folder(path.parent)}/{path.name}"

    def identity(self, real: str) -> str:
        """The same for all names of the file `real`, an absolute path without links."""
        return self._own_name(real) or real

    def leads_out(self, real: str) -> bool:
        """Whether the file `real` lies out of the folder and may not be used."""
        return not (self.follow_links or self._inside(real))

    def better_folder(self, names: Sequence[str], more: Sequence[Path] = ()) -> Path | None:
        """The folder above, below or of `more` in which most of `names` are files; None if no one has half of them."""
        absolute = [os.fspath(path.parent) for name in names if (path := Path(name)).is_absolute()]
        common = [Path(os.path.commonpath(absolute))] if absolute else []
        below = islice((path for path in sorted(self.root.glob("*/")) if is_folder(path)), NEARBY)
        found = {
            folder: sum(is_file(folder / name) and (folder / name).is_relative_to(folder) for name in names)
            for folder in dict.fromkeys((*common, *more, *list(self.root.parents)[:3], *below))
            if folder != self.root
        }
        best = max(found, key=lambda folder: found[folder], default=None)
        return best if best is not None and 2 * found[best] > len(names) else None

    def _usable(self, path: str, real: str, report: Report) -> bool:
        """Whether a link leads to an image or a folder that may be looked at."""
        if is_folder(Path(real)) or is_image(path):
            if not os.path.lexists(real) or Path(real).is_symlink():  # the second: links in a circle
                report.skip(shown(path), "link to nothing", f"it leads to {shown(real)}")
            elif self.leads_out(real):
                report.skip(shown(path), LEADS_OUT, f"to {shown(real)}; --follow-links takes what is there")
            else:
                return True
        return False

    def _own_name(self, real: str) -> str | None:
        """The path within the folder without links and hidden names; None if there is none."""
        if not self._inside(real):
            return None
        name = real[len(self._real_root) :].lstrip("/")
        return None if name.startswith(".") or "/." in name else name

    def _inside(self, real: str) -> bool:
        return f"{real}/".startswith(f"{self._real_root.rstrip('/')}/")


def ending_of(name: str) -> str:
    """What follows the last dot of a file's name, in small letters."""
    _, dot, ending = name.rpartition(".")
    return ending.lower() if dot else ""


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return ending_of(name) in IMAGE_ENDINGS


def is_file(path: Path) -> bool:
    """`path.is_file()`; False also where the system refuses to look: too long a name, a folder that is closed."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """`path.is_dir()`; False also where the system refuses to look."""
    try:
        return path.is_dir()
    except OSError:
        return False


def read_start(path: Path, where: str, most: int, report: Report) -> bytes | None:
    """The file's first `most` bytes; None, told to `report`, where the system refuses."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        report.skip(where, "file can't be read", error.strerror or str(error))
        return None


def shown(path: str) -> str:
    """A file's name as text, whatever bytes it has."""
    return os.fsencode(path).decode(errors="replace")


def _entries(place: Path, name: str, report: Report) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        report.skip(shown(name or place.name), "folder can't be read", error.strerror or str(error))
        return []


def _encodes(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
