"""Import: add the rows of a source to the catalog. Repeated imports add each row only once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from commoncanvas.catalog.import_records import fingerprint, record_import
from commoncanvas.catalog.importing.sources import Report, Source, SourceOptions, make_source
from commoncanvas.core.console import Printed, progress
from commoncanvas.core.errors import NothingImportedError
from commoncanvas.core.text import one_line
from commoncanvas.table.lance_errors import explaining
from commoncanvas.table.namesakes import Namesakes
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Keys, Tombstones

if TYPE_CHECKING:
    from rich.console import RenderableType


ADVICE = {
    "unknown licence": (
        "write each licence as its English name (CC BY 4.0, CC0, Public Domain Mark) or its address "
        "(https://creativecommons.org/licenses/by/4.0/)"
    )
}
"""Reason for skipped rows -> what the user can do."""


@dataclass(frozen=True, repr=False)
class ImportReport(Printed):
    """Result of an import. `skipped` counts unusable rows by reason; `remarks` counts rows that were kept without
    some value. `complaints` lists the first of both one by one.
    """

    source: str
    new: int
    present: int
    skipped: dict[str, int]
    remarks: dict[str, int]
    complaints: list[str]
    notes: list[str]

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        skipped = f"{sum(self.skipped.values()):,} skipped" + (f" ({reasons})" if reasons else "")
        remarks = "".join(f"; {count:,} {remark}" for remark, count in self.remarks.items())
        return f"{self.source}: {self.new:,} new, {self.present:,} already in the catalog, {skipped}{remarks}"

    def render(self) -> RenderableType:
        """What the terminal shows: a line of counts, then one line per complaint and per note."""
        from rich.text import Text

        unnamed = sum(self.skipped.values()) + sum(self.remarks.values()) - len(self.complaints)
        more = [f"and {unnamed:,} more of these kinds"] if unnamed else []
        lines = (str(self), *(f"  {one_line(line, None)}" for line in (*self.complaints, *more)), *self.notes)
        return Text("\n".join(lines), no_wrap=True, overflow="ignore")

    def nothing(self) -> str:
        """One line that says why no row could be used."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        first = f" ({self.complaints[0]})" if self.complaints else ""
        why = "; ".join(filter(None, (f"{reasons}{first}", *self.notes))) or "it has no rows"
        return f"source {self.source}: nothing was imported: {why}"


def import_(
    source: str | Source,
    catalog: Catalog | str | Path,
    path: str | Path | Sequence[str | Path] | None = None,
    *,
    metadata: str | Path | None = None,
    license: str | None = None,
    creator: str | None = None,
    name: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    policy: str | None = None,
    columns: Mapping[str, str] | None = None,
    size: int | None = None,
    follow_links: bool = False,
    allow_lookalikes: bool = False,
    allow_namesakes: bool = False,
) -> ImportReport:
    """Add the rows of `source` to the catalog; create the catalog if it doesn't exist.

    `source` is a name in `sources.SOURCES` or an object of the protocol `Source`. The other arguments are passed to the
    source; `path` is one path or several. Rows are committed while they stream; after a crash, run the import again to
    add the rest. The reasons for skipped rows are recorded beside the table. Several imports may run at once. If an
    image of the source looks like one that was taken down, it is not stored, unless `allow_lookalikes`. If a creator
    may be one who was taken down (a very similar name, or the same name with another address), the row is skipped and
    named, unless `allow_namesakes`. Raises SourceError, NothingImportedError if no row can be used, MissingExtraError,
    CatalogError.
    """
    input = fingerprint(uuid.uuid4())
    if isinstance(source, str):
        options = SourceOptions(
            paths=tuple(map(Path, [path] if isinstance(path, str | Path) else path or ())),
            metadata=Path(metadata) if metadata is not None else None,
            license=license,
            creator=creator,
            name=name,
            label_column=label_column,
            policy=policy,
            columns={**(columns or {}), **({"id": id_column} if id_column else {})},
            size=size,
            follow_links=follow_links,
        )
        # Only what is read, not the options: a repeated import of the same input replaces its record.
        input = fingerprint(source, [each.absolute() for each in options.paths], name)
        source = make_source(source, options)
    report = Report(taken_down=_taken_down(catalog))

    def reported(added: int, present: int) -> ImportReport:
        counts = dict(report.skipped), dict(report.remarks)
        notes = [*report.notes, *(advice for reason, advice in ADVICE.items() if report.skipped[reason])]
        return ImportReport(source.name, added, present, *counts, report.complaints, notes)

    rows = 0
    with progress("import", None, "rows") as bar:

        def counted(count: int) -> None:
            nonlocal rows
            rows += count
            bar.advance(count)

        batches = (batch for batch in source.batches(report) if len(batch))
        first = next(batches, None)
        if first is None:
            nothing = reported(0, 0)
            raise NothingImportedError(nothing.nothing(), nothing)
        if not isinstance(catalog, Catalog):
            catalog = Catalog.open_or_create(catalog)
        if source.columns:
            catalog.add_columns(source.columns)
        namesakes = Namesakes(report, allow_namesakes)
        added, present = catalog.add(
            _counted(chain([first], batches), counted), namesakes, allow_lookalikes=allow_lookalikes
        )
    held = sum(namesakes.people.values())
    record_import(
        catalog.uri,
        catalog.storage_options,
        input,
        source.name,
        rows=rows - held,
        refused=rows - held - added - present,
        skipped=dict(report.skipped),
    )
    return reported(added, present)


def _taken_down(catalog: Catalog | str | Path) -> Keys:
    uri, options = (
        (catalog.uri, catalog.storage_options) if isinstance(catalog, Catalog) else (str(catalog), None)
    )
    with explaining(f"catalog {uri}: its tombstones can't be read"):
        stones = Tombstones(uri, options)
        stones.refresh()
    return stones.keys


def _counted(
    batches: Iterator[pa.RecordBatch], on_progress: Callable[[int], object]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        on_progress(len(batch))
