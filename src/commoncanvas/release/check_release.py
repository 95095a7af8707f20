"""Check a folder that was published, or is about to be: a model or a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from commoncanvas.catalog.export_folder import DATA
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.models.pretrained import model_folder
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.check import check_model
from commoncanvas.release.check_data import check_data
from commoncanvas.release.findings import ReleaseCheck


def check_release(folder: str | Path, catalog: str | Sequence[str] = ()) -> ReleaseCheck:
    """`check_model` for a folder with provenance.json, `check_data` for one with shards. `catalog`: as for these.

    Raises ModelError if it is neither, and CatalogError if a data set is given several catalogs.
    """
    path = Path(model_folder(folder))
    if (path / RECORD).is_file():
        return check_model(path, catalog)
    if not (path / DATA).is_dir():
        raise ModelError(
            f"{folder} has no {RECORD}, as a model has, and no {DATA}/ with shards, as a data set has; "
            "give the folder of one of them"
        )
    places = [catalog] if isinstance(catalog, str) else catalog
    if len(places) > 1:
        raise CatalogError(f"{folder} is a data set, which has one catalog; give one --catalog")
    return check_data(folder, *places)
