"""Lance's errors as one line that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import with_remedy
from commoncanvas.core.text import one_line
from commoncanvas.table.sql import abridged, check_literals, parts

_ABOUT_A_FILTER = re.compile(
    "invalid user input|schema error|sql|plan|cast|type|filter expression", re.IGNORECASE
)
# Lance adds its own prefixes to messages, and at the end the line of its source code.
_PREFIXES = re.compile(
    r"^(Schema error: |Error (during planning|(parsing|tokenizing) (statement|function)|resolving filter expression): ?"
    r"|SELECT 1 FROM t WHERE ?|Invalid user input: )+",
)
_OF_LANCE = re.compile(r"(LanceError\(IO\)|Generic LocalFileSystem error|Unable to copy data to file): ")
_RUST_PLACE = re.compile(r",? ?/\S+\.rs:\d+(:\d+)?.*", re.DOTALL)


def reason(error: Exception) -> str:
    """The message of a Lance error, without the parts that are only for Lance's developers."""
    text = _RUST_PLACE.sub("", str(error)).removeprefix("Invalid user input: ")
    return with_remedy(_OF_LANCE.sub("", " ".join(text.split())).rstrip("."))


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Raise Lance's errors as CatalogError, with `what` before the reason."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CatalogError(f"{what}: {reason(error)}") from error


@contextmanager
def explaining_filter(dataset: Any, filter: str | None) -> Iterator[None]:
    """Raise CatalogError if the SQL `filter` is not valid, with the cause first. Other errors are raised unchanged."""
    if filter is not None:
        check_literals(filter)
    try:
        yield
    except (OSError, ValueError) as error:
        if filter is None or not _ABOUT_A_FILTER.search(str(error)):
            raise
        raise _not_valid(dataset, filter, error) from error
    except BaseException as error:
        # A panic in Lance's Rust code. It is a BaseException, but no Exception.
        if filter is None or type(error).__name__ != "PanicException":
            raise
        raise _not_valid(dataset, filter, ValueError(f"Lance can't read it ({error})")) from error


def _not_valid(dataset: Any, filter: str, error: Exception) -> CatalogError:
    part, error = _at_fault(dataset, filter, error)
    cause = one_line(_PREFIXES.sub("", _without_filter(reason(error), part)), 200)
    cause, unknown, _ = cause.partition(". Valid fields are ")
    columns = f": {', '.join(dataset.schema.names)}" if unknown else ""
    return CatalogError(
        f"{cause}: filter {abridged(part)!r} is not valid; "
        f"write SQL over the columns of catalog {dataset.uri}{columns}"
    )


def _at_fault(dataset: Any, filter: str, error: Exception) -> tuple[str, Exception]:
    """The invalid condition among those that `all_of` joined, and its error."""
    for part in parts(filter):
        if part != filter:
            try:
                dataset.scanner(columns=[], filter=part, with_row_id=True).explain_plan()
            except (OSError, ValueError) as found:
                return _at_fault(dataset, part, found)
    return filter, error


def _without_filter(message: str, filter: str) -> str:
    """Lance's `message` without the complete filter that it repeats."""
    return message.replace(f" {' '.join(filter.split())}", "")


def describe(field: pa.Field) -> str:
    """A column's type and metadata."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return f"{field.type}{f' {metadata}' if metadata else ''}"
