"""Filters with names: SQL kept in the table's own configuration, beside the tag of the version that it was made on."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted
from commoncanvas.licenses import shortened
from commoncanvas.table.lance_errors import reason
from commoncanvas.table.sql import all_of
from commoncanvas.table.table import Catalog

FETCHED = "fetch_status = 'ok'"
_KEY = "commoncanvas.filter."
# Also a tag's name, which Lance is strict about; of digits alone it would read as a version's number.
_NAME = re.compile(r"(?!\d+$)(?!.*(\.\.|\.lock$|\.$))[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RETRIES = 50
_CREATED = "_row_created_at_version"


@dataclass(frozen=True)
class Condition:
    """One condition of a filter: SQL over the columns, and what is wrong with rows that don't meet it.

    `computed`: the column that it is on, if `curate` computes it: rows without a value there have not been curated.
    `licence`: it is that of a policy's licences.
    """

    name: str
    why: str
    where: str
    computed: str | None = None
    licence: bool = False


def saved_conditions(catalog: Catalog) -> dict[str, tuple[Condition, ...]]:
    """Name -> conditions, of every filter that the catalog's version knows."""
    config: dict[str, str] = catalog.dataset.config()
    return {
        key.removeprefix(_KEY): tuple(Condition(**each) for each in json.loads(config[key]))
        for key in sorted(config)
        if key.startswith(_KEY)
    }


def saved_filters(catalog: Catalog | str | Path) -> dict[str, str]:
    """Name -> SQL expression, of every filter that the catalog's version knows."""
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    return {name: where_of(conditions) for name, conditions in saved_conditions(catalog).items()}


def where_of(conditions: Iterable[Condition]) -> str:
    """SQL of the rows that meet all of them."""
    return all_of(*(condition.where for condition in conditions))


def saved_filter(catalog: Catalog | str | Path, name: str) -> str:
    """The SQL expression saved as `name`. Raises CatalogError, listing the names there are."""
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    filters = saved_filters(catalog)
    if name not in filters:
        raise CatalogError(
            f"catalog {catalog.uri} has no filter {name}; it has: {', '.join(filters) or 'none'}"
        )
    return filters[name]


def expression(catalog: Catalog, where: str | None) -> str | None:
    """SQL of `where`: of the saved filter of that name, if the catalog's version has one; else `where` itself."""
    return None if where is None else saved_filters(catalog).get(where, where)


def tagged_filter(catalog: Catalog, version: int | str | None) -> str | None:
    """The SQL that was saved with the tag `version`; None for a version that is none of a filter's."""
    return saved_filters(catalog).get(version) if isinstance(version, str) else None


def conditions_of(catalog: Catalog, where: str | None, version: int | str | None) -> list[str]:
    """SQL of `where`, itself or by its name; and if a filter was saved with the tag `version`, of that one, and of the
    rows that were there then. Raises CatalogError if that tag is gone.
    """
    named = expression(catalog, where)
    conditions = [] if named is None else [named]
    if tagged := tagged_filter(catalog, version):
        if version not in (tags := catalog.tags()):
            raise CatalogError(f"catalog {catalog.uri} has the filter {version} and no longer its tag")
        conditions = [tagged, *conditions, f"{_CREATED} <= {tags[version]}"]
    return list(dict.fromkeys(conditions))


def open_rows(uri: str, version: int | str | None) -> Catalog:
    """The catalog that has the rows of `version`: that version, or for the tag of a saved filter, which says which
    rows, the newest, with the columns that were made since. Raises CatalogError.
    """
    newest = Catalog.open(uri)
    return newest if version is None or tagged_filter(newest, version) else Catalog.open(uri, version)


def any_of(catalog: Catalog, filters: Iterable[str]) -> list[str]:
    """SQL of the rows that one of `filters` at least lets in, each itself or by its name; of none no condition."""
    each = [all_of(expression(catalog, where)) for where in filters]
    return [" OR ".join(each)] if each else []


def left_after(catalog: Catalog, conditions: Sequence[str]) -> list[int]:
    """How many rows meet the first condition, the first two, and so on."""
    return [catalog.count(all_of(*conditions[: count + 1])) for count in range(len(conditions))]


def describe_counts(catalog: Catalog, conditions: Sequence[str], left: Sequence[int]) -> str:
    """`left_after` in words: what each condition leaves of all rows, up to the one that leaves none."""
    words = [counted(catalog.count(), "rows")]
    for condition, count in zip(conditions, left, strict=True):
        words.append(f"{count:,} with {shortened(condition)}")
        if not count:
            break
    return ", ".join(words)


def why_none(catalog: Catalog, conditions: Sequence[str]) -> str:
    """Why a stage had nothing to do on the rows that meet all `conditions`."""
    left = left_after(catalog, conditions)
    if left[-1]:
        return f"nothing to do, {counted(left[-1], 'rows')} have it already"
    return f"no row to do: of {describe_counts(catalog, conditions, left)}{remedy(catalog, conditions, left)}"


def remedy(catalog: Catalog, conditions: Sequence[str], left: Sequence[int]) -> str:
    """The command that lets rows meet the first condition that none meets; empty if there is none for it."""
    if conditions[left.index(0)] != FETCHED:
        return ""
    return f"; to fetch the images: commoncanvas catalog fetch --catalog {shlex.quote(catalog.uri)}"


def save_filter(catalog: Catalog, name: str, where: str | Sequence[Condition]) -> None:
    """Keep a filter, SQL or a list of conditions, as `name`, and tag the newest version, which then has it, so as well.

    Saved again, unchanged, at the same version it changes nothing; killed in between, the next call does what is
    left. Raises CatalogError for an expression that is no SQL over the columns, and where `name` stands for something
    else.
    """
    if isinstance(where, str):
        where = [Condition("where", f"not {shortened(where)}", where)]
    expression = where_of(where)
    check_name(catalog, name, expression)
    catalog.count(expression)
    said = json.dumps([asdict(condition) for condition in where])
    for attempt in range(_RETRIES):
        catalog.refresh()
        if saved_filters(catalog).get(name) == expression:
            break
        try:
            catalog.dataset.update_config({_KEY + name: said})
        except OSError as error:
            # Somebody else changed the configuration at the same time: look again.
            if "ncompatible" not in str(error) or attempt == _RETRIES - 1:
                raise CatalogError(
                    f"catalog {catalog.uri}: filter {name} can't be saved: {reason(error)}"
                ) from error
    catalog.tag(name)


def check_name(catalog: Catalog, name: str, expression: str) -> None:
    """Raise CatalogError if `expression` could not be saved as `name`."""
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} is no name of a filter; write a letter, then letters, digits, _ or -, as in c-v1"
        )
    tagged = catalog.tags().get(name)
    if tagged is None:
        return
    there = saved_filters(Catalog.open(catalog.uri, name, catalog.storage_options)).get(name)
    if there != expression:
        what = "another filter" if there else "no filter"
        raise CatalogError(
            f"tag {name} of {catalog.uri} stands for version {tagged} and {what}; use another name"
        )
