"""One version of the Lance table, with one row per image: opening, reading, columns, versions and tags."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import lance
import numpy as np
import pyarrow as pa
from lance.commit import CommitConflictError
from numpy.typing import NDArray

from commoncanvas.core.errors import CatalogError, NoCatalogError
from commoncanvas.table.columns import derived, same_column
from commoncanvas.table.lance_errors import describe, explaining, explaining_filter, reason
from commoncanvas.table.rows import take_rows
from commoncanvas.table.schema import FORMAT, FORMAT_KEY, SCHEMA
from commoncanvas.table.storage import without_password

EXISTS = re.compile(r"already exists|/_versions/0\.manifest was not found")
"""Lance's message if a new table already exists. It depends on when Lance notices."""
EMPTY = {"_transactions", "_versions"}
"""Lance's folders in a table without rows."""


class Snapshot:
    """The table at one version. `Catalog` adds the methods to add rows and run stages.

    It reads the version that was newest when it was opened or last changed through this object; `refresh` moves
    to the newest. Several processes may read and change one table at the same time.
    """

    def __init__(
        self, dataset: Any, storage_options: dict[str, str] | None = None, pinned: bool = False
    ) -> None:
        self.dataset = dataset
        self.storage_options = storage_options
        self.pinned = pinned

    @property
    def uri(self) -> str:
        return str(self.dataset.uri)

    @property
    def version(self) -> int:
        return int(self.dataset.version)

    @property
    def schema(self) -> pa.Schema:
        return self.dataset.schema

    def __len__(self) -> int:
        return self.count()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.uri!r}, version {self.version})"

    # Opening

    @classmethod
    def create(cls, uri: str | Path, storage_options: dict[str, str] | None = None) -> Self:
        """Create an empty catalog. Raises CatalogError if `uri` already exists."""
        try:
            dataset = _create(without_password(str(uri)), storage_options)
        except (OSError, ValueError) as error:
            if EXISTS.search(str(error)):
                raise CatalogError(
                    f"catalog {uri} exists already; open it, or choose another path"
                ) from error
            raise CatalogError(f"catalog {uri} can't be created: {reason(error)}") from error
        return cls(dataset, storage_options)

    @classmethod
    def open(
        cls, uri: str | Path, version: int | str | None = None, storage_options: dict[str, str] | None = None
    ) -> Self:
        """Open the newest version, or (read-only) the version with a number or tag. Raises CatalogError."""
        try:
            dataset = lance.dataset(without_password(str(uri)), storage_options=storage_options)
        except (OSError, ValueError) as error:
            if "not found" in str(error).lower():
                raise NoCatalogError(
                    f"there is no catalog at {uri}; "
                    f"create one with: commoncanvas catalog import SOURCE --catalog {shlex.quote(str(uri))}"
                ) from error
            raise CatalogError(f"catalog {uri} can't be opened: {reason(error)}") from error
        written = (dataset.schema.metadata or {}).get(FORMAT_KEY)
        if written is None:
            raise CatalogError(f"{uri} is a Lance table but not a catalog; give the path of a catalog")
        if int(written) > FORMAT:
            raise CatalogError(
                f"catalog {uri} has format {int(written)}, newer than {FORMAT}; upgrade commoncanvas"
            )
        if version is not None:
            dataset = _checkout(dataset, version)
        return cls(dataset, storage_options, pinned=version is not None)

    @classmethod
    def open_or_create(cls, uri: str | Path, storage_options: dict[str, str] | None = None) -> Self:
        """Open the catalog at `uri`, or create it. Several processes may do so at the same time."""
        try:
            return cls.create(uri, storage_options)
        except CatalogError as error:
            if "exists already" not in str(error):
                raise
            return cls.open(uri, storage_options=storage_options)

    def refresh(self) -> None:
        """Move to the newest version."""
        self.must_be_newest("refreshed")
        self.dataset = lance.dataset(self.uri, storage_options=self.storage_options)

    # Changing

    def add_columns(self, fields: Sequence[pa.Field]) -> None:
        """Add the missing columns, filled with null.

        Raises CatalogError if a column exists with another type or metadata.
        """
        self.must_be_newest("given columns")
        while True:
            self.refresh()
            missing = []
            for field in fields:
                if field.name not in self.schema.names:
                    missing.append(field)
                elif not same_column(self.schema.field(field.name), field):
                    raise CatalogError(
                        f"column {field.name} of {self.uri} is {describe(self.schema.field(field.name))}, "
                        f"not {describe(field)}; drop the column, or give the new column another name"
                    )
            if not missing:
                return
            try:
                self.dataset.add_columns(missing)
            except CommitConflictError:
                continue  # another process changed the table meanwhile: try again
            except OSError as error:
                if "already exists" not in str(error):
                    raise CatalogError(
                        f"catalog {self.uri}: columns can't be added: {reason(error)}"
                    ) from error

    def drop_columns(self, names: Sequence[str]) -> list[str]:
        """Drop columns that a stage added, and all columns made from them, in one commit; returns the names.

        Raises CatalogError for a column that every catalog has.
        """
        self.must_be_newest("changed")
        for name in names:
            if name in SCHEMA.names:
                raise CatalogError(
                    f"column {name} of {self.uri} belongs to every catalog and can't be dropped"
                )
        self.check_columns(names)
        while True:
            self.refresh()
            dropped = [*names, *derived(self.schema, names)]
            try:
                self.dataset.drop_columns(dropped)
                return dropped
            except CommitConflictError:
                continue

    # Reading

    def scan(
        self,
        columns: Sequence[str],
        where: str | None = None,
        batch_size: int = 1024,
        with_row_id: bool = False,
    ) -> Iterator[pa.RecordBatch]:
        """Batches of at most `batch_size` rows, in the table's order; optionally with `_rowid` (uint64)."""
        self.check_columns(columns)
        with explaining_filter(self.dataset, where):
            yield from self.dataset.scanner(
                columns=list(columns),
                filter=where,
                batch_size=batch_size,
                with_row_id=with_row_id,
                scan_in_order=True,
            ).to_batches()

    def values(self, expression: str, where: str | None = None) -> pa.Table:
        """`image_id`, and `value`: what the SQL `expression` gives for each row. Raises CatalogError."""
        with explaining_filter(self.dataset, where):
            try:
                return self.dataset.scanner(
                    columns={"image_id": "image_id", "value": expression}, filter=where
                ).to_table()
            except (OSError, ValueError) as error:
                if where is not None:
                    self.dataset.scanner(columns=[], filter=where, with_row_id=True).explain_plan()
                raise CatalogError(f"SQL expression {expression!r}: {reason(error)}") from error

    def table(
        self,
        columns: Sequence[str],
        where: str | None = None,
        with_row_id: bool = False,
        limit: int | None = None,
    ) -> pa.Table:
        """Like `scan`, as one table of at most `limit` rows."""
        self.check_columns(columns)
        with explaining_filter(self.dataset, where):
            return self.dataset.scanner(
                columns=list(columns), filter=where, limit=limit, with_row_id=with_row_id, scan_in_order=True
            ).to_table()

    def count(self, where: str | None = None) -> int:
        """Number of rows that meet the SQL expression `where`."""
        with explaining_filter(self.dataset, where):
            return int(self.dataset.count_rows(where))

    def take(self, row_ids: NDArray[np.uint64], columns: Sequence[str]) -> pa.Table:
        """Rows by stable row id, in the given order; ids may repeat. Raises CatalogError if a row is missing."""
        self.check_columns(columns)
        if not len(row_ids):
            return pa.schema([self.schema.field(name) for name in columns]).empty_table()
        found = take_rows(self.dataset, row_ids, columns)
        if len(found) != len(row_ids):
            existing = take_rows(self.dataset, np.unique(row_ids), ["_rowid"])["_rowid"].to_numpy()
            missing = np.setdiff1d(row_ids, existing)
            raise CatalogError(
                f"catalog {self.uri} (version {self.version}) has no row {missing[0]}"
                f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}; "
                "open the version that has these ids"
            )
        return found

    # Versions

    def tag(self, name: str) -> None:
        """Tag this version, so that no clean-up deletes it. Raises CatalogError if another version has the tag."""
        existing = self.tags().get(name)
        if existing == self.version:
            return
        if existing is not None:
            raise CatalogError(
                f"tag {name} of {self.uri} is version {existing}, not {self.version}; use another name"
            )
        with explaining(f"catalog {self.uri}: tag {name!r} can't be created"):
            self.dataset.tags.create(name, self.version)

    def tags(self) -> dict[str, int]:
        """Tag -> version."""
        return {name: int(tag["version"]) for name, tag in self.dataset.tags.list().items()}

    def delete_tag(self, name: str) -> None:
        """Delete a tag. Its version stays until a clean-up. Raises CatalogError if there is no such tag."""
        if name not in self.tags():
            raise CatalogError(
                f"catalog {self.uri} has no tag {name}; it has: {', '.join(self.tags()) or 'none'}"
            )
        self.dataset.tags.delete(name)

    def cleanup(self, older_than: timedelta = timedelta(days=1), *, exclusive: bool = False) -> int:
        """Delete untagged versions older than `older_than`, and the files that only they used; returns bytes.

        Files of a killed process look like another process's unfinished work. They stay for seven days, unless
        `exclusive` says that no other process uses the table.
        """
        self.must_be_newest("cleaned up")
        stats = self.dataset.cleanup_old_versions(
            older_than, error_if_tagged_old_versions=False, delete_unverified=exclusive
        )
        return int(stats.bytes_removed)

    # Checks

    def must_be_newest(self, what: str) -> None:
        """Raise CatalogError if the version was opened read-only. `what`: the action, as in "can't be `what`"."""
        if self.pinned:
            raise CatalogError(
                f"catalog {self.uri} is open at version {self.version} and can't be {what}; "
                "open it without a version"
            )

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise CatalogError that names the missing columns, if any."""
        missing = [
            name for name in columns if name not in self.schema.names and name not in ("_rowid", "_rowaddr")
        ]
        if missing:
            raise CatalogError(
                f"catalog {self.uri} (version {self.version}) has no column {', '.join(missing)}; "
                f"it has {', '.join(self.schema.names)}"
            )


def _create(uri: str, storage_options: dict[str, str] | None) -> Any:
    """Commit an empty table as version 1. If several processes try, one succeeds.

    Lance's `write_dataset` could replace a table that another process has already created and filled
    (https://github.com/lance-format/lance/issues/4451).
    """
    folder = Path(uri)
    # A killed creation leaves only Lance's folders. Anything else belongs to the user.
    if "://" not in uri and folder.exists() and not (folder.is_dir() and _names(folder) <= EMPTY):
        raise FileExistsError(f"{uri} already exists")
    return lance.LanceDataset.commit(
        uri,
        lance.LanceOperation.Overwrite(SCHEMA, []),
        read_version=0,
        enable_stable_row_ids=True,
        max_retries=0,
        storage_options=storage_options,
    )


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _checkout(dataset: Any, version: int | str) -> Any:
    try:
        return dataset.checkout_version(version)
    except (OSError, ValueError) as error:
        kind = "tag" if isinstance(version, str) else "version"
        tags = ", ".join(dataset.tags.list()) or "none"
        raise CatalogError(
            f"catalog {dataset.uri} has no {kind} {version}; newest version: {dataset.version}, tags: {tags}"
        ) from error
