"""Saved filters: SQL in the table's configuration, each with a tag of the version that it was made on."""

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
# The name is also a tag, and Lance restricts tag names. Digits alone would look like a version number.
_NAME = re.compile(r"(?!\d+$)(?!.*(\.\.|\.lock$|\.$))[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RETRIES = 50
_CREATED = "_row_created_at_version"


@dataclass(frozen=True)
class Condition:
    """One condition of a filter: SQL over the columns, and `why` rows that don't meet it are dropped.

    `computed`: the condition's column, if `curate` computes it. Rows without a value there are not curated yet.
    `licence`: whether it is the condition of a licence policy.
    """

    name: str
    why: str
    where: str
    computed: str | None = None
    licence: bool = False


def saved_conditions(catalog: Catalog) -> dict[str, tuple[Condition, ...]]:
    """Name -> conditions, of all filters in the catalog's version."""
    config: dict[str, str] = catalog.dataset.config()
    return {
        key.removeprefix(_KEY): tuple(Condition(**each) for each in json.loads(config[key]))
        for key in sorted(config)
        if key.startswith(_KEY)
    }


def saved_filters(catalog: Catalog | str | Path) -> dict[str, str]:
    """Name -> SQL expression, of all filters in the catalog's version."""
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    return {name: where_of(conditions) for name, conditions in saved_conditions(catalog).items()}


def where_of(conditions: Iterable[Condition]) -> str:
    """SQL for the rows that meet all conditions."""
    return all_of(*(condition.where for condition in conditions))


def saved_filter(catalog: Catalog | str | Path, name: str) -> str:
    """The SQL expression saved as `name`. Raises CatalogError that lists all names."""
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    filters = saved_filters(catalog)
    if name not in filters:
        raise CatalogError(
            f"catalog {catalog.uri} has no filter {name}; it has: {', '.join(filters) or 'none'}"
        )
    return filters[name]


def expression(catalog: Catalog, where: str | None) -> str | None:
    """The SQL of the saved filter `where`, if the catalog's version has one; else `where` itself."""
    return None if where is None else saved_filters(catalog).get(where, where)


def tagged_filter(catalog: Catalog, version: int | str | None) -> str | None:
    """The SQL of the filter whose tag is `version`; None if `version` is not a filter's tag."""
    return saved_filters(catalog).get(version) if isinstance(version, str) else None


def conditions_of(catalog: Catalog, where: str | None, version: int | str | None) -> list[str]:
    """SQL conditions for `where` (SQL or a filter's name). If `version` is a filter's tag: also that filter, and the
    condition that a row existed then. Raises CatalogError if the tag was deleted.
    """
    named = expression(catalog, where)
    conditions = [] if named is None else [named]
    if tagged := tagged_filter(catalog, version):
        if version not in (tags := catalog.tags()):
            raise CatalogError(f"catalog {catalog.uri} has the filter {version}, but its tag was deleted")
        conditions = [tagged, *conditions, f"{_CREATED} <= {tags[version]}"]
    return list(dict.fromkeys(conditions))


def open_rows(uri: str, version: int | str | None, storage_options: dict[str, str] | None = None) -> Catalog:
    """The catalog at `version`. For a saved filter's tag: the newest version, because it has columns that were made
    later, and the filter selects the rows. Raises CatalogError.
    """
    newest = Catalog.open(uri, None, storage_options)
    if version is None or tagged_filter(newest, version):
        return newest
    return Catalog.open(uri, version, storage_options)


def left_after(catalog: Catalog, conditions: Sequence[str]) -> list[int]:
    """The number of rows that meet the first condition, the first two, and so on."""
    return [catalog.count(all_of(*conditions[: count + 1])) for count in range(len(conditions))]


def describe_counts(catalog: Catalog, conditions: Sequence[str], left: Sequence[int]) -> str:
    """`left_after` in words: the rows left after each condition, up to the first that leaves none."""
    words = [counted(catalog.count(), "rows")]
    for condition, count in zip(conditions, left, strict=True):
        words.append(f"{count:,} with {shortened(condition)}")
        if not count:
            break
    return ", ".join(words)


def why_none(catalog: Catalog, conditions: Sequence[str]) -> str:
    """Why a stage found no work in the rows that meet all `conditions`."""
    left = left_after(catalog, conditions)
    if left[-1]:
        return f"nothing to do; {counted(left[-1], 'rows')} have it already"
    return f"no row matches: {describe_counts(catalog, conditions, left)}{remedy(catalog, conditions, left)}"


def remedy(catalog: Catalog, conditions: Sequence[str], left: Sequence[int]) -> str:
    """The command that helps if no row is fetched; empty if another condition is the first that no row meets."""
    if conditions[left.index(0)] != FETCHED:
        return ""
    return f"; to fetch the images: commoncanvas catalog fetch --catalog {shlex.quote(catalog.uri)}"


def save_filter(catalog: Catalog, name: str, where: str | Sequence[Condition]) -> None:
    """Save a filter (SQL or conditions) as `name`, and tag the resulting version with `name`.

    Saving the same filter again at the same version changes nothing. If a call is killed, the next call completes it.
    Raises CatalogError if the expression is not valid SQL over the columns, or if `name` is already used for something
    else.
    """
    if isinstance(where, str):
        where = [Condition("where", f"not {shortened(where)}", where)]
    expression = where_of(where)
    check_name(catalog, name, expression)
    catalog.count(expression)
    saved = json.dumps([asdict(condition) for condition in where])
    for attempt in range(_RETRIES):
        catalog.refresh()
        if saved_filters(catalog).get(name) == expression:
            break
        try:
            catalog.dataset.update_config({_KEY + name: saved})
        except OSError as error:
            # Another process changed the configuration at the same time: try again.
            if "ncompatible" not in str(error) or attempt == _RETRIES - 1:
                raise CatalogError(
                    f"catalog {catalog.uri}: filter {name} can't be saved: {reason(error)}"
                ) from error
    catalog.tag(name)


def check_name(catalog: Catalog, name: str, expression: str) -> None:
    """Raise CatalogError if `expression` could not be saved as `name`."""
    if not _NAME.fullmatch(name):
        raise CatalogError(
            f"{name!r} is not a valid filter name; use a letter, then letters, digits, _ or -, as in c-v1"
        )
    tagged = catalog.tags().get(name)
    if tagged is None:
        return
    existing = saved_filters(Catalog.open(catalog.uri, name, catalog.storage_options)).get(name)
    if existing != expression:
        kind = "another filter" if existing else "no filter"
        raise CatalogError(f"tag {name} of {catalog.uri} is version {tagged} with {kind}; use another name")
