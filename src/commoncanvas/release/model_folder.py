"""The facts that a model folder has of itself, each read once: what a check compares and a release states."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas.catalog import Catalog
from commoncanvas.provenance.folder import catalog_places, read_rows, trained_catalogs
from commoncanvas.provenance.record_file import read_provenance

REQUIRES = ("name", "task", "catalogs", "recipe", "rows", "licenses", "result_license", "built_on", "weights")

MARK = "release.json"
"""Says that a folder is a release, and of what."""


class ModelFolder:
    """A folder that `train` wrote, or a copy of it. `moved`: new places of its catalogs, as for `evaluate`.

    Raises ModelError if it has no readable provenance.json with REQUIRES.
    """

    def __init__(self, path: Path, moved: Sequence[str] = ()) -> None:
        self.path = path
        self.moved = moved
        self.record: dict[str, Any] = read_provenance(path, REQUIRES)

    @cached_property
    def rows(self) -> pa.Table:
        """rows.parquet. Raises ModelError."""
        return read_rows(str(self.path))

    @cached_property
    def trained(self) -> pa.Table:
        """The rows that the model was trained on. Raises ModelError."""
        return self.rows.filter(pc.equal(self.rows["split"], "train"))

    @cached_property
    def catalogs(self) -> dict[str, Catalog]:
        """The catalogs of its rows by name, at their versions. Raises CatalogError if one can't be opened."""
        return trained_catalogs(str(self.path), self.record, self.moved)

    @property
    def places(self) -> dict[str, str]:
        """Where its catalogs are, by name. A release doesn't say where: without `moved`, there are none."""
        released = (self.path / MARK).is_file()
        return {} if released and not self.moved else catalog_places(str(self.path), self.record, self.moved)
