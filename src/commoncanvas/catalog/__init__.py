"""CommonCatalog: the table of images, where they come from, and who made them."""

from __future__ import annotations

from commoncanvas.catalog.credits import credits
from commoncanvas.catalog.curation import CurateReport, curate
from commoncanvas.catalog.export import ExportReport, export
from commoncanvas.catalog.fetch import FetchReport, fetch
from commoncanvas.catalog.importing import ImportReport, import_
from commoncanvas.catalog.lookup import LookupReport, Match, lookup
from commoncanvas.catalog.showing import ShownRows, show
from commoncanvas.catalog.stats import CatalogStats, stats
from commoncanvas.catalog.takedown import TakedownReport, takedown
from commoncanvas.table.filters import save_filter, saved_filter, saved_filters
from commoncanvas.table.stage import Stage
from commoncanvas.table.table import Catalog

__all__ = [
    "Catalog",
    "CatalogStats",
    "CurateReport",
    "ExportReport",
    "FetchReport",
    "ImportReport",
    "LookupReport",
    "Match",
    "ShownRows",
    "Stage",
    "TakedownReport",
    "credits",
    "curate",
    "export",
    "fetch",
    "import_",
    "lookup",
    "save_filter",
    "saved_filter",
    "saved_filters",
    "show",
    "stats",
    "takedown",
]
