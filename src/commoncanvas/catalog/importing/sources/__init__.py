"""The sources: one module and one line here for each."""

from __future__ import annotations

from collections.abc import Callable

from commoncanvas.catalog.export_folder import cut_off
from commoncanvas.catalog.importing.sources.commoncatalog import CommonCatalog
from commoncanvas.catalog.importing.sources.folder import Folder
from commoncanvas.catalog.importing.sources.huggingface import HuggingFace
from commoncanvas.catalog.importing.sources.img2dataset import Img2Dataset
from commoncanvas.catalog.importing.sources.openimages import OpenImages
from commoncanvas.catalog.importing.sources.openmoji import OpenMoji
from commoncanvas.catalog.importing.sources.openverse import Openverse
from commoncanvas.catalog.importing.sources.source import RowSource, Source, SourceOptions
from commoncanvas.catalog.importing.sources.table import Table
from commoncanvas.catalog.importing.sources.wikimedia import Wikimedia
from commoncanvas.catalog.importing.sources.yfcc100m import YFCC100M
from commoncanvas.core.errors import SourceError
from commoncanvas.table.report import Report

__all__ = ["SOURCES", "Report", "RowSource", "Source", "SourceOptions", "make_source"]

SOURCES: dict[str, Callable[[SourceOptions], Source]] = {
    "openmoji": OpenMoji,
    "folder": Folder,
    "yfcc100m": YFCC100M,
    "commoncatalog": CommonCatalog,
    "img2dataset": Img2Dataset,
    "openverse": Openverse,
    "wikimedia": Wikimedia,
    "openimages": OpenImages,
    "huggingface": HuggingFace,
    "table": Table,
}


def make_source(name: str, options: SourceOptions) -> Source:
    """Make a source by its name. Raises SourceError if it doesn't exist or can't be used with these options."""
    if name not in SOURCES:
        raise SourceError(f"there is no source {name}; there are: {', '.join(SOURCES)}")
    for path in options.paths:
        if why := cut_off(path):
            raise SourceError(
                f"{path} is an incomplete export: {why}; run the export again until it finishes"
            )
    return SOURCES[name](options)
