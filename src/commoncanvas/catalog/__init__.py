"""CommonCatalog: the table of images, where they come from, and who made them."""

from __future__ import annotations

from commoncanvas.catalog.credits import credits
from commoncanvas.catalog.export import ExportReport, export
from commoncanvas.catalog.fetch import FetchReport, fetch
from commoncanvas.catalog.importing import ImportReport, import_
from commoncanvas.catalog.stage import Stage
from commoncanvas.catalog.stats import CatalogStats, stats
from commoncanvas.catalog.table import Catalog
from commoncanvas.catalog.takedown import TakedownReport, takedown

__all__ = [
    "Catalog",
    "CatalogStats",
    "ExportReport",
    "FetchReport",
    "ImportReport",
    "Stage",
    "TakedownReport",
    "credits",
    "export",
    "fetch",
    "import_",
    "stats",
    "takedown",
]
