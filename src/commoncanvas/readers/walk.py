"""Find the image files in a folder: which names are images, which links are followed, what is left out."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path

from commoncanvas.core.text import encodes
from commoncanvas.table.report import Report

_ENDINGS = "jpg jpeg jpe jfif png webp gif tif tiff svg avif heic heif bmp"
IMAGE_ENDINGS = tuple(_ENDINGS.split())
"""File name endings of images, in folders and in tar archives."""

_OTHERS = "jxl jp2 j2k jpx psd psb tga exr hdr ico eps xcf pcx raw dng cr2 cr3 nef arw orf rw2 raf"
OTHER_ENDINGS = frozenset(_OTHERS.split())
"""Endings of images in formats that can't be read."""

OUTSIDE = "outside the folder"
MISSING = "file missing"
LEADS_OUT = "link out of the folder"
NEARBY = 200
"""Most subfolders that `better_folder` searches."""


class ImageFolder:
    """The images below `root`.

    Links to places in the folder are followed. An image with several names is used once, by preference under a name
    without links. Links out of the folder are skipped, unless `follow_links`.
    """

    def __init__(self, root: Path, follow_links: bool = False) -> None:
        self.root = root
        self.follow_links = follow_links
        self.passed_over: Counter[str] = Counter()
        """Endings of images that `walk` ignored because their format can't be read."""
        self._real_root = os.path.realpath(root)
        self._prefix = f"{os.fspath(root).rstrip('/')}/"
        self._real_folder = lru_cache(maxsize=1 << 10)(os.path.realpath)

    def walk(self, report: Report) -> Iterator[tuple[str, str]]:
        """Yield (posix path within the folder, identity of the file) of each image once, in a fixed order.

        Names that begin with a dot are ignored; other skipped files go to `report.skip`.
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
                    # Each linked folder is read only once, so circular links end.
                    if not through or (own is None and real not in read):
                        read.add(real)
                        folders.append((path, real, through))
                elif is_image(path) and not (through and own is not None and is_image(own)):
                    if not is_file(Path(real)):
                        report.skip(shown(path), "not a file", "it is a pipe, a device or a socket")
                    elif not encodes(path):
                        report.skip(shown(path), "bad encoding", "the file's name is not UTF-8; rename it")
                    else:
                        yield path, own or real
                elif (ending := ending_of(path)) in OTHER_ENDINGS:
                    self.passed_over[ending] += 1
            waiting += reversed(folders)

    def find(self, given: str, start: Path) -> tuple[str, str] | str:
        """(path within the folder, identity of the file) of the image at the path `given`, which starts from `start`.

        If it is missing or outside of the folder, returns the reason (MISSING, OUTSIDE, LEADS_OUT).
        """
        for written in dict.fromkeys((given, given.replace("\\", "/"))):
            # File systems write a character such as "é" as one code point (NFC) or as two (NFD).
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
        """The path of a file without links."""
        if path.is_symlink():
            return os.path.realpath(path)
        return f"{self._real_folder(path.parent)}/{path.name}"

    def identity(self, real: str) -> str:
        """A value that is equal for all names of the file `real` (an absolute path without links)."""
        return self._own_name(real) or real

    def leads_out(self, real: str) -> bool:
        """Whether the file `real` is outside of the folder and may not be used."""
        return not (self.follow_links or self._inside(real))

    def better_folder(self, names: Sequence[str], more: Sequence[Path] = ()) -> Path | None:
        """The parent folder, subfolder or folder of `more` that contains most of `names`; None unless over half."""
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
        """Whether a link leads to an image or a folder that may be used."""
        if is_folder(Path(real)) or is_image(path):
            if not os.path.lexists(real) or Path(real).is_symlink():  # is_symlink: circular links
                report.skip(shown(path), "broken link", f"it leads to {shown(real)}")
            elif self.leads_out(real):
                report.skip(shown(path), LEADS_OUT, f"to {shown(real)}; --follow-links allows it")
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
    """The text after the last dot of a file name, in lower case."""
    _, dot, ending = name.rpartition(".")
    return ending.lower() if dot else ""


def is_image(name: str) -> bool:
    """Whether a file name has the ending of an image."""
    return ending_of(name) in IMAGE_ENDINGS


def is_file(path: Path) -> bool:
    """`path.is_file()`; False also if the system raises an error: the name is too long, or access is denied."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """`path.is_dir()`; False also if the system raises an error."""
    try:
        return path.is_dir()
    except OSError:
        return False


def read_start(path: Path, where: str, most: int, report: Report) -> bytes | None:
    """The file's first `most` bytes. If it can't be read, returns None and reports it."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        report.skip(where, "file can't be read", error.strerror or str(error))
        return None


def shown(path: str) -> str:
    """A file name as text, even if its bytes aren't UTF-8."""
    return os.fsencode(path).decode(errors="replace")


def _entries(place: Path, name: str, report: Report) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        report.skip(shown(name or place.name), "folder can't be read", error.strerror or str(error))
        return []
