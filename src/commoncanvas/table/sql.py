"""SQL conditions put together. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from commoncanvas.core.errors import CatalogError

# Texts and names in quotes, in which a bracket or a dash means nothing; then what does.
_TOKENS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--|/\*|[()]""")
# Texts and names in quotes; then placeholders and kinds of texts that SQL knows, and Lance ends on with a panic.
_LITERALS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|(\$|\?|(?<!:):(?=[A-Za-z_])|(?<!\w)[bBnNrR](?='))"""
)
_LISTS = re.compile(r"\bIN \(([^()]{60,})\)")


def all_of(*conditions: str | None) -> str:
    """Rows for which every one of `conditions` is true; None is left out.

    Raises CatalogError for one that doesn't end by itself, such as `1=1) OR (1=1`: beside it the others would mean
    something else, and rows come in that a licence policy keeps out.
    """
    given = [condition for condition in conditions if condition is not None]
    for condition in given:
        _check_whole(condition)
    return " AND ".join(f"({condition})" for condition in given) or "true"


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'{}'".format(text.replace("'", "''"))


def listed(texts: Iterable[str]) -> str:
    """Texts as SQL's IN wants them, without the brackets."""
    return ", ".join(map(quoted, texts))


def abridged(condition: str) -> str:
    """A condition for people to read: of long lists only the begin, 200 characters in all."""
    short = _LISTS.sub(lambda found: f"IN ({found[1][:30]}…)", condition)
    return short if len(short) <= 200 else f"{short[:150]} … {short[-40:]}"


def check_literals(condition: str) -> None:
    """Raise CatalogError for a placeholder or a kind of text that Lance's SQL has not."""
    found = next((match for match in _LITERALS.finditer(condition) if match[1]), None)
    if found:
        around = condition[max(0, found.start() - 10) : found.end() + 20]
        raise CatalogError(
            f"{found[1]} in filter {around!r} is no value of SQL; write texts as 'text' and values as they are"
        )


def _check_whole(condition: str) -> None:
    depth = 0
    for token in _TOKENS.findall(condition):
        if token in ("--", "/*"):
            raise CatalogError(f"condition {condition!r} has a comment in it; write it without")
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            break
    if depth:
        raise CatalogError(
            f"condition {condition!r} has brackets that don't match; close what it opens, and no more"
        )
    if not condition.strip():
        raise CatalogError("a condition is empty; leave it out, or write SQL over the catalog's columns")


def parts(condition: str) -> list[str]:
    """The conditions that `all_of` put together; a condition that it didn't make is one part."""
    found: list[str] = []
    depth = start = 0
    for token in _TOKENS.finditer(condition):
        if token[0] == "(":
            if depth == 0:
                between = condition[start : token.start()]
                if between != (" AND " if found else ""):
                    return [condition]
                start = token.end()
            depth += 1
        elif token[0] == ")":
            depth -= 1
            if depth == 0:
                found.append(condition[start : token.start()])
                start = token.end()
    return found if found and depth == 0 and start == len(condition) else [condition]
