"""CommonCatalog: the table of images, their sources and their creators."""

from __future__ import annotations

from commoncanvas.catalog.credits import credits
from commoncanvas.catalog.curating.command import CurateReport, curate
from commoncanvas.catalog.export.command import ExportReport, export
from commoncanvas.catalog.fetching.command import FetchReport, fetch
from commoncanvas.catalog.importing.command import ImportReport, import_
from commoncanvas.catalog.lookup.command import LookupReport, Match, lookup
from commoncanvas.catalog.searching.command import IndexReport, SearchReport, index, search
from commoncanvas.catalog.show.command import ShownRows, show
from commoncanvas.catalog.stats.command import stats
from commoncanvas.catalog.stats.result import CatalogStats
from commoncanvas.catalog.takedown.command import TakedownReport, takedown
from commoncanvas.catalog.takedown.from_requests import RequestsReport, takedown_from_requests
from commoncanvas.options.fetch import FetchOptions
from commoncanvas.table.filters import save_filter, saved_filter, saved_filters
from commoncanvas.table.stage import Stage
from commoncanvas.table.table import Catalog

__all__ = [
    "Catalog",
    "CatalogStats",
    "CurateReport",
    "ExportReport",
    "FetchOptions",
    "FetchReport",
    "ImportReport",
    "IndexReport",
    "LookupReport",
    "Match",
    "RequestsReport",
    "SearchReport",
    "ShownRows",
    "Stage",
    "TakedownReport",
    "credits",
    "curate",
    "export",
    "fetch",
    "import_",
    "index",
    "lookup",
    "save_filter",
    "saved_filter",
    "saved_filters",
    "search",
    "show",
    "stats",
    "takedown",
    "takedown_from_requests",
]
