"""New columns of fragments, written but seen by nobody, and the commit that makes many of them one version.

The commit is optimistic: a slice lands only if its fragment is still the one that was read.
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
    """The fragment's metadata as it was read, JSON."""
    written: str
    """Its metadata with the new columns, JSON."""
    fields: list[int]
    finished: bool
    counted: Any = None
    """What a stage that is Counting has counted meanwhile, elsewhere than in the driver's process."""
    failure: Exception | None = None
    """What ended it early; the run ends with it, once what was made before has landed."""


def commit(catalog: Snapshot, slices: list[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Commit slices as one version; returns those that landed, and those whose fragment has changed since."""
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
            # Something else was committed since. Slices whose fragment it left alone are still good.
            latest = lance.dataset(catalog.uri, storage_options=catalog.storage_options)
            version = latest.version
            untouched = [_untouched(latest, made) for made in slices]
            lost += [made for made, good in zip(slices, untouched, strict=True) if not good]
            slices = [made for made, good in zip(slices, untouched, strict=True) if good]
        except (OSError, ValueError) as error:
            raise CatalogError(f"catalog {catalog.uri} can't be committed to: {reason(error)}") from error
    catalog.refresh()
    return slices, lost


def _untouched(latest: Any, made: Slice) -> bool:
    fragment = latest.get_fragment(made.fragment_id)
    return fragment is not None and json.dumps(fragment.metadata.to_json()) == made.read
