"""New columns of fragments, and the commit that makes many of them one version. They are invisible before it.

The commit is optimistic: a slice is committed only if its fragment did not change since it was read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lance
from lance.commit import CommitConflictError

from commoncanvas.core.errors import CatalogError
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.rows import RowIds

if TYPE_CHECKING:
    from commoncanvas.table.snapshot import Snapshot


@dataclass(frozen=True)
class Slice:
    """New columns of some rows of one fragment, written but not committed."""

    fragment_id: int
    version: int
    row_ids: RowIds
    read: str
    """The fragment's metadata when it was read, as JSON."""
    written: str
    """Its metadata with the new columns, as JSON."""
    fields: list[int]
    finished: bool
    counted: Any = None
    """Counts of a Counting stage in another process than the driver's."""
    failure: Exception | None = None
    """The error that ended the slice early. The run raises it after it commits the finished rows."""


def commit(catalog: Snapshot, slices: list[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Commit slices as one version; returns the committed slices, and those whose fragment changed meanwhile."""
    lost: list[Slice] = []
    version = min((made.version for made in slices), default=0)
    while slices:
        operation = lance.LanceOperation.Update(
            updated_fragments=[lance.FragmentMetadata.from_json(made.written) for made in slices],
            fields_modified=sorted({field for made in slices for field in made.fields}),
        )
        try:
            lance.LanceDataset.commit(
                catalog.uri, operation, read_version=version, storage_options=catalog.storage_options
            )
            break
        except CommitConflictError:
            # Another process committed meanwhile. Slices are still valid if their fragment did not change.
            latest = lance.dataset(catalog.uri, storage_options=catalog.storage_options)
            version = latest.version
            untouched = [_untouched(latest, made) for made in slices]
            lost += [made for made, good in zip(slices, untouched, strict=True) if not good]
            slices = [made for made, good in zip(slices, untouched, strict=True) if good]
        except (OSError, ValueError) as error:
            raise CatalogError(f"catalog {catalog.uri} can't be changed: {reason(error)}") from error
    catalog.refresh()
    return slices, lost


def _untouched(latest: Any, made: Slice) -> bool:
    fragment = latest.get_fragment(made.fragment_id)
    return fragment is not None and json.dumps(fragment.metadata.to_json()) == made.read
