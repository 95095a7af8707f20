"""Search a catalog from the command line or from Python, and make the indexes that make it fast."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.catalog.credits import Credit
from commoncanvas.catalog.searching.alike import hash_of
from commoncanvas.catalog.searching.query import Query
from commoncanvas.catalog.searching.searcher import Order, Searcher
from commoncanvas.core.console import Printed, say
from commoncanvas.core.errors import CatalogError, ImageError
from commoncanvas.core.files import why
from commoncanvas.core.text import counted, one_line
from commoncanvas.table.newest import Newest
from commoncanvas.table.search_index import WORDS_KIND, Made, indexed_texts, uncovered_rows, update
from commoncanvas.table.snapshot import Snapshot
from commoncanvas.table.table import Catalog

if TYPE_CHECKING:
    from rich.console import RenderableType

LIMIT = 20
ORDERS = {
    "relevance": "most relevant first",
    "likeness": "most alike first",
    "catalog": "in the catalog's order",
}


@dataclass(frozen=True, repr=False)
class SearchReport(Printed):
    """The first `limit` of the `total` rows that a search found."""

    uri: str
    version: int
    asked: dict[str, str]
    total: int
    order: Order
    credits: tuple[Credit, ...]

    def to_dict(self) -> dict[str, Any]:
        found = [{**asdict(each), "text": each.text()} for each in self.credits]
        return {**asdict(self), "credits": found}

    def render(self) -> RenderableType:
        """What the terminal shows: how many there are, and for each row the credit line and its id."""
        from rich.console import Group
        from rich.text import Text

        lines = [Text(f"{counted(self.total, 'images')}, {ORDERS[self.order]}", style="bold")]
        lines += [Text(f"{each.text()}\n  {each.image_id}", overflow="fold") for each in self.credits]
        if self.total > len(self.credits):
            lines.append(Text(f"and {self.total - len(self.credits):,} more; --limit shows more"))
        return Group(*lines)


def search(
    catalog: Catalog | str | Path,
    text: str = "",
    *,
    license: str = "",
    creator: str = "",
    country: str = "",
    from_year: int | None = None,
    to_year: int | None = None,
    image: str | Path | None = None,
    limit: int = LIMIT,
) -> SearchReport:
    """Find rows by words, by licence, creator (a name or an address), country and year, and by what they look like.

    `text`: each of its words is in the title, description, tags, label, caption or creator of a row. `image`: a file;
    the rows whose pictures are like it in their large shapes. Without `index`, words take longer and are not ranked.
    Raises CatalogError.
    """
    if limit < 1:
        raise CatalogError(f"--limit {limit}: give at least 1")
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    alike = None if image is None else _hash(Path(image))
    query = Query(text, license, creator, country, from_year, to_year, alike)
    page = Searcher(Newest(catalog)).page(query, 0, limit)
    found = tuple(each for each in page.rows if each is not None)
    return SearchReport(catalog.uri, page.version, query.form(), page.total, page.order, found)


@dataclass(frozen=True, repr=False)
class IndexReport(Printed):
    """The indexes that were made or brought up to date; `current`: those that had all rows before."""

    uri: str
    version: int
    rows: int
    made: tuple[Made, ...]
    current: int

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.console import Group
        from rich.text import Text

        lines = [Text(f"{self.uri} version {self.version}: {counted(self.rows, 'rows')}", style="bold")]
        if self.made:
            took = sum(each.seconds for each in self.made)
            lines.append(
                Text(f"{len(self.made)} index{'es' if len(self.made) > 1 else ''} made in {took:,.1f} s")
            )
        if self.current:
            lines.append(Text(f"{self.current} had all rows before"))
        return Group(*lines)


def index(catalog: Catalog | str | Path) -> IndexReport:
    """Make the indexes of `search`, or add to them the rows that came since. Says what it made and how long it took.

    Each is kept as soon as it is made: a call after a killed one makes the rest. Raises CatalogError.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    before = uncovered_rows(catalog)
    made = update(catalog, lambda each: say(_line(each)))
    return IndexReport(catalog.uri, catalog.version, catalog.count(), tuple(made), len(before) - len(made))


def advice(catalog: Snapshot) -> str | None:
    """One line for whoever serves a catalog whose indexes are missing or have not all rows; None if they have."""
    missing = {index.column for index, rows in uncovered_rows(catalog).items() if rows}
    if not missing:
        return None
    what = (
        f"rows without an index of {', '.join(sorted(missing))} are searched one by one"
        if indexed_texts(catalog)
        else "searches are slow, and words are not ranked, until there are indexes"
    )
    return (
        f"{catalog.uri}: {what}; make them: commoncanvas catalog index --catalog {shlex.quote(catalog.uri)}"
    )


def _line(made: Made) -> str:
    kind = "words" if made.index.kind == WORDS_KIND else "values"
    return f"{made.index.column}, {kind}: {counted(made.rows, 'rows')} in {made.seconds:,.1f} s"


def _hash(path: Path) -> int:
    try:
        return hash_of(path.read_bytes())
    except OSError as error:
        raise CatalogError(f"{path} can't be read: {why(error)}") from error
    except ImageError as error:
        raise CatalogError(f"{one_line(path)} can't be searched for: {error}") from error
