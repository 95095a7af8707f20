"""What Lance says, in the one line that a user can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from commoncanvas.errors import CatalogError

_ABOUT_A_FILTER = re.compile(
    "invalid user input|schema error|sql|plan|cast|type|filter expression", re.IGNORECASE
)
# Lance ends its messages with the place in its own source code.
_RUST_PLACE = re.compile(r",? ?/\S+\.rs:\d+(:\d+)?.*", re.DOTALL)


def reason(error: Exception) -> str:
    """The message of one of Lance's errors without what means something to its authors only."""
    text = _RUST_PLACE.sub("", str(error)).removeprefix("Invalid user input: ")
    return " ".join(text.split()).rstrip(".")


@contextmanager
def explaining(what: str) -> Iterator[None]:
    """Raise Lance's errors as CatalogError: `what`, and the reason."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CatalogError(f"{what}: {reason(error)}") from error


@contextmanager
def explaining_filter(uri: str, filter: str | None) -> Iterator[None]:
    """Raise CatalogError if Lance finds fault with the SQL `filter`; other errors stay what they are."""
    try:
        yield
    except (OSError, ValueError) as error:
        if filter is None or not _ABOUT_A_FILTER.search(str(error)):
            raise
        raise CatalogError(
            f"catalog {uri}: filter {filter!r} is not valid: {reason(error)}; write SQL over its columns"
        ) from error


def describe(field: pa.Field) -> str:
    """A column's type and metadata."""
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    return f"{field.type}{f' {metadata}' if metadata else ''}"
