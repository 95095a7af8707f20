"""A folder of images with metadata files, with sidecars beside the images, or with one licence for all."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from commoncanvas.catalog.importing.sources import fields
from commoncanvas.catalog.importing.sources.base_row import check_named
from commoncanvas.catalog.importing.sources.described import DescribedSource
from commoncanvas.catalog.importing.sources.records import (
    MAX_JSON,
    READERS,
    check_metadata,
    parse_json,
    read_records,
)
from commoncanvas.catalog.importing.sources.source import SourceOptions
from commoncanvas.catalog.local_images import FOLDER
from commoncanvas.core.errors import SourceError
from commoncanvas.readers.walk import (
    IMAGE_ENDINGS,
    LEADS_OUT,
    ImageFolder,
    is_file,
    read_start,
)
from commoncanvas.table.report import Report

_SAMPLE = 50
"""Most missing files that are used to search for a better folder."""
_SHOWN = 12
"""Most columns that a note lists."""

CAPTION_SUFFIXES = (".txt", ".caption")
"""A text file with the image's name and this ending is its caption (kohya's layout)."""
MAX_CAPTION_BYTES = 1 << 16

Found = tuple[str, str, str, dict[str, Any]]
"""(place in the metadata, path of the image within the folder, identity of the image, the record)"""


class Folder(DescribedSource):
    """Rows `folder:<name>/<path within the folder>`. The default of `name` is the folder's name; it keeps the ids of
    different folders different. `ImageFolder` says which images and links are used.

    The metadata file is the one that `metadata` names, else `metadata.*` in the folder. Else subfolders are searched
    (`train/metadata.jsonl`, as in the hub's image folders); paths in such a file start from its own folder.
    """

    name = FOLDER

    def __init__(self, options: SourceOptions) -> None:
        taken = ("paths", "metadata", "license", "creator", "name", "label_column", "columns")
        options.only(self.name, *taken, "follow_links")
        self.map = options.mapping(*fields.ALIASES)
        if options.path is None:
            raise SourceError("source folder needs the PATH of a folder with images")
        self.root = Path(os.path.normpath(options.path.absolute()))
        if not self.root.is_dir():
            raise SourceError(f"{options.path} is not a folder; give the path of a folder with images")
        self.images = ImageFolder(self.root, options.follow_links)
        self.named = options.name is not None
        self.folder_name = options.name or self.root.name
        self.metadata = {options.metadata: self.root} if options.metadata else self._find_metadata()
        super().__init__(options)
        self._missing: list[str] = []
        self._columns = {path: check_metadata(path) for path in self.metadata}
        self._check()

    def rows(self, report: Report) -> Iterator[dict[str, Any]]:
        records = self._listed(report) if self.metadata else self._sidecars(report)
        seen: dict[str, str] = {}
        count = labels = 0
        for where, path, identity, record in records:
            if identity in seen:
                report.skip(where, "duplicate", f"{path} is already at {seen[identity]}")
                continue
            seen[identity] = where
            row = self._row(where, path, record, report)
            if row is not None:
                count += 1
                labels += row["label"] is not None
                yield row
        garbled = bool(self.metadata and report.skipped["bad encoding"])
        if self.metadata:
            names = [self._place(path) for path in self.metadata]
            kind = "readable row" if garbled else "row"
            detail = f"{names[0]} has no {kind} for it"
            if len(names) > 1:
                detail = f"no metadata file has a {kind} for it"
            for path, identity in self.images.walk(report):
                if identity not in seen:
                    report.skip(path, "no metadata", detail)
        if garbled:
            report.note(
                "the metadata must be UTF-8; save it as UTF-8 (in Excel: CSV UTF-8), and import again"
            )
        self._explain(len(seen), count, labels, report)

    def _explain(self, found: int, count: int, labels: int, report: Report) -> None:
        """Add notes that help the user to correct the input or the options."""
        if self._missing and set(self.metadata.values()) == {self.root}:
            (metadata,) = self.metadata
            better = self.images.better_folder(self._missing, [metadata.parent])
            advice = (
                f"they are in {better}: import that folder" if better else "paths must start from that folder"
            )
            # If only a few files are missing, the folder is probably right.
            if better or report.skipped["file missing"] + report.skipped["outside the folder"] > found:
                report.note(f"{metadata.name} names files that are not in {self.root}; {advice}")
        if not self.metadata and report.skipped["no metadata"] and (lists := self._lists()):
            report.note(
                f"not read: {', '.join(lists[:_SHOWN])}; if one of them describes the images, name it with --metadata"
            )
        if report.skipped["no creator"] and not self.creator and not self._describes("creator"):
            report.note(
                "no column with creators was found; name it with --column creator=NAME, or give one for all rows "
                "with --creator"
            )
        if count and "license" in self.map and "license_url" not in self.map and (unread := self._unread()):
            more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
            report.note(
                f"columns that were not read: {', '.join(unread[:_SHOWN])}{more}; if one of them is about rights, name "
                "it with --column license_url=NAME and import into a new catalog: existing rows don't change"
            )
        if not count and not report.skipped:
            report.note(f"{self.root} has no image: no file name ends in .{', .'.join(IMAGE_ENDINGS)}")
        if self.images.passed_over and not self.metadata:
            kinds = ", ".join(f"{number:,} .{ending}" for ending, number in self.images.passed_over.items())
            report.note(
                f"images in formats that can't be read were ignored: {kinds}; save them as .png or .tif"
            )
        if self.label_column and count and not labels:
            report.note(f"no row has text in {self.label_column!r}, so no image has a label")
        if count and not self.named:
            report.note(
                f"the ids of the images begin with {self.name}:{self.folder_name}/ (the folder's name); if you rename "
                f"the folder, import it with --name {self.folder_name}, or its images are added again"
            )

    def _unread(self) -> list[str]:
        """Named columns of the metadata that are not read."""
        named = {*self.map.values(), self.label_column, ""}
        columns = dict.fromkeys(name for columns in self._columns.values() for name in columns or ())
        return [name for name in columns if name not in named and fields.normalise(name) not in fields.KNOWN]

    def _lists(self) -> list[str]:
        """Files in the folder that may be its metadata."""
        return sorted(
            str(path) for path in self.root.iterdir() if path.suffix.lower() in READERS and is_file(path)
        )

    # Find the metadata

    def _find_metadata(self) -> dict[Path, Path]:
        """Metadata file -> the folder that its paths start from."""
        found: dict[Path, Path] = {}
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            here = [f"metadata{suffix}" for suffix in READERS if f"metadata{suffix}" in names]
            if len(here) > 1:
                raise SourceError(f"{folder} has {' and '.join(here)}; choose one with --metadata")
            for name in here:
                if self.images.leads_out(self.images.real(Path(folder, name))):
                    raise SourceError(
                        f"{Path(folder, name)} is a {LEADS_OUT}; name it with --metadata, or allow such links with "
                        "--follow-links"
                    )
            found.update({Path(folder, name): Path(folder) for name in here})
            if here:
                folders.clear()
        return found

    def _place(self, path: Path) -> str:
        """The name of a metadata file in messages."""
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name

    def _check(self) -> None:
        """Check licence, creator and columns once, instead of failing in each row."""
        if self.license and self.license.attribution and not self.creator and not self._describes("creator"):
            raise SourceError(
                f"licence {self.license.id} demands attribution; name whom to credit with --creator"
            )
        for path, columns in self._columns.items():
            if columns is None:
                continue
            if not self._has(columns, "file"):
                raise SourceError(
                    f"metadata {path} has no column with image files; name it with --column file=NAME, or rename it to "
                    f"one of: {', '.join(fields.ALIASES['file'])}; if it has URLs instead, use the source table"
                )
            check_named(f"metadata {path}", columns, self.map, self.label_column)
            licensed = self.license or "license" in self.map or "license_url" in self.map
            if not licensed and not set(map(fields.normalise, columns)) & (fields.RIGHTS | fields.NOTICES):
                raise SourceError(
                    f"metadata {path} has no column with licences; name it with --column license=NAME, rename it to "
                    f"license or rights, or give one for all rows with --license; it has: {', '.join(columns)}"
                )

    def _describes(self, column: str) -> bool:
        """Whether the metadata may contain `column`."""
        if not self.metadata:
            return any(self.root.rglob("*.json"))
        return any(columns is None or self._has(columns, column) for columns in self._columns.values())

    def _has(self, columns: Iterable[str], column: str) -> bool:
        return column in self.map or bool(set(map(fields.normalise, columns)) & set(fields.ALIASES[column]))

    def _listed(self, report: Report) -> Iterator[Found]:
        for metadata, folder in self.metadata.items():
            for where, record in read_records(metadata, report, self._place(metadata)):
                if found := self._path(where, folder, record, report):
                    yield where, *found, record

    def _sidecars(self, report: Report) -> Iterator[Found]:
        """One record per image: from `photo.jpg.json` or `photo.json` beside it, or empty if there is --license."""
        for path, identity in self.images.walk(report):
            image = self.root / path
            candidates = (Path(f"{image}.json"), image.with_suffix(".json"))
            sidecar = next((file for file in candidates if is_file(file)), None)
            if sidecar is None and self.license is None:
                report.skip(
                    path, "no metadata", "it has no sidecar, and there is no metadata file and no --license"
                )
                continue
            record: dict[str, Any] | None = {}
            where = path
            if sidecar is not None:
                where = sidecar.relative_to(self.root).as_posix()
                if self.images.leads_out(self.images.real(sidecar)):
                    report.skip(where, LEADS_OUT, "a sidecar; --follow-links allows it")
                    continue
                data = read_start(sidecar, where, MAX_JSON + 1, report)
                record = data if data is None else parse_json(where, data, report)
            if record is not None:
                # The record belongs to the image beside the sidecar, even if it names another file.
                yield where, path, identity, record

    # Make one row

    def _path(
        self, where: str, folder: Path, record: dict[str, Any], report: Report
    ) -> tuple[str, str] | None:
        """The record's image: its path within the root, and its identity. The record's path starts from `folder`."""
        if "file" in self.map:
            named = record.get(self.map["file"])
        else:
            named = fields.find(
                {fields.normalise(str(name)): value for name, value in record.items()}, "file"
            )
        given = next(iter(fields.texts(named)), None)
        if given is None:
            report.skip(where, "no file name", f"none of {', '.join(fields.ALIASES['file'])} is set")
            return None
        found = self.images.find(given, folder)
        if isinstance(found, tuple):
            return found
        advice = "; --follow-links allows it" if found == LEADS_OUT else ""
        report.skip(where, found, f"field file: {given[:100]!r}{advice}")
        if found != LEADS_OUT and len(self._missing) < _SAMPLE:
            self._missing.append(given.replace("\\", "/"))
        return None

    def _row(self, where: str, path: str, record: dict[str, Any], report: Report) -> dict[str, Any] | None:
        row = self.described(
            f"{self.folder_name}/{unicodedata.normalize('NFC', path)}",
            where,
            record,
            report,
            {name: column for name, column in self.map.items() if name != "file"},
        )
        if row is None:
            return None
        if row["label"] is None and self.label_column is None:
            row["label"] = self._caption(path, report)
        return {**row, "image_url": (self.root / path).as_uri()}

    def _caption(self, path: str, report: Report) -> str | None:
        """The text of the caption file beside an image (CAPTION_SUFFIXES)."""
        candidates = map((self.root / path).with_suffix, CAPTION_SUFFIXES)
        file = next((file for file in candidates if is_file(file)), None)
        if file is None:
            return None
        if self.images.leads_out(self.images.real(file)):
            report.remark(path, "kept without label", f"{file.name} is a {LEADS_OUT}")
            return None
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_CAPTION_BYTES + 1)
        except OSError as error:
            report.remark(path, "kept without label", f"{file.name} can't be read: {error.strerror or error}")
            return None
        if len(data) > MAX_CAPTION_BYTES:
            report.remark(
                path, "kept without label", f"{file.name} has more than {MAX_CAPTION_BYTES:,} bytes"
            )
            return None
        try:
            return data.decode("utf-8-sig").strip() or None
        except UnicodeDecodeError as error:
            report.remark(path, "kept without label", f"{file.name} is not UTF-8 at byte {error.start}")
            return None
