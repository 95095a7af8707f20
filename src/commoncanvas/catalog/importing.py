"""Import: rows of a source become rows of the catalog, once each however often it is run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from commoncanvas.catalog.history import fingerprint, record_import
from commoncanvas.catalog.sources import Report, Source, SourceOptions, make_source
from commoncanvas.catalog.table import Catalog
from commoncanvas.console import progress


@dataclass(frozen=True)
class ImportReport:
    """What an import did. `skipped` counts the rows that can't be used, by reason, and `remarks` those that
    were kept with something left out; `complaints` names the first of both one by one.
    """

    source: str
    new: int
    present: int
    skipped: dict[str, int]
    remarks: dict[str, int]
    complaints: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        skipped = f"{sum(self.skipped.values()):,} skipped" + (f" ({reasons})" if reasons else "")
        remarks = "".join(f"; {count:,} {what}" for what, count in self.remarks.items())
        return f"{self.source}: {self.new:,} new, {self.present:,} already there, {skipped}{remarks}"


def import_(
    source: str | Source,
    catalog: Catalog | str | Path,
    *,
    path: str | Path | Sequence[str | Path] | None = None,
    metadata: str | Path | None = None,
    license: str | None = None,
    creator: str | None = None,
    name: str | None = None,
    label_column: str | None = None,
    policy: str | None = None,
    columns: Mapping[str, str] | None = None,
    size: int | None = None,
) -> ImportReport:
    """Add what `source` has to the catalog, which is made if there is none at that place.

    `source` is a name of `sources.SOURCES` or an object of the protocol `Source`; the other arguments are the
    source's own, `path` one or more. Rows are committed as they stream by; killed and run again, the import
    adds what was missing. What was skipped and why is kept beside the table. Any number of imports may run at
    once. Raises SourceError, MissingExtraError or CatalogError.
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
            columns=columns or {},
            size=size,
        )
        absolute = [Path(each).absolute() for each in (*options.paths, metadata) if each is not None]
        # Not the person whom it credits, nor the policy: what the last import skips is what is left out.
        input = fingerprint(
            source, absolute, replace(options, paths=(), metadata=None, policy=None, creator=None)
        )
        source = make_source(source, options)
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open_or_create(catalog)
    if source.columns:
        catalog.add_columns(source.columns)
    report = Report()
    rows = 0
    with progress("import", None, "rows") as bar:

        def counted(count: int) -> None:
            nonlocal rows
            rows += count
            bar.advance(count)

        added, present = catalog.add(_counted(source.batches(report), counted))
    record_import(
        catalog.uri,
        catalog.storage_options,
        input,
        source.name,
        rows=rows,
        refused=rows - added - present,
        skipped=dict(report.skipped),
    )
    return ImportReport(
        source.name,
        added,
        present,
        dict(report.skipped),
        dict(report.remarks),
        report.complaints,
        report.notes,
    )


def _counted(
    batches: Iterator[pa.RecordBatch], on_progress: Callable[[int], object]
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield batch
        on_progress(len(batch))
