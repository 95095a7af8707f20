"""Join, check and shorten SQL conditions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from commoncanvas.core.errors import CatalogError

# Quoted texts and names, in which brackets and dashes have no meaning; then comments and brackets.
_TOKENS = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|--|/\*|[()]""")
# Quoted texts and names; then (in the group) placeholders and text prefixes, which make Lance panic.
_LITERALS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|(\$|\?|(?<!:):(?=[A-Za-z_])|(?<!\w)[bBnNrR](?='))"""
)
_LISTS = re.compile(r"\bIN \(([^()]{60,})\)")


def all_of(*conditions: str | None) -> str:
    """SQL for rows that meet all `conditions`; None is ignored.

    Raises CatalogError for an incomplete condition, such as `1=1) OR (1=1`. It would change the meaning of the others
    and let in rows that a licence policy excludes.
    """
    given = [condition for condition in conditions if condition is not None]
    for condition in given:
        _check_whole(condition)
    return " AND ".join(f"({condition})" for condition in given) or "true"


def quoted(text: str) -> str:
    """`text` as an SQL literal."""
    return "'{}'".format(text.replace("'", "''"))


def listed(texts: Iterable[str]) -> str:
    """Texts as a list for SQL's IN, without the brackets."""
    return ", ".join(map(quoted, texts))


def abridged(condition: str) -> str:
    """A condition for people to read: long lists are cut, and the whole is cut to 200 characters."""
    short = _LISTS.sub(lambda found: f"IN ({found[1][:30]}…)", condition)
    return short if len(short) <= 200 else f"{short[:150]} … {short[-40:]}"


def check_literals(condition: str) -> None:
    """Raise CatalogError for a placeholder or text prefix that Lance's SQL doesn't support."""
    found = next((match for match in _LITERALS.finditer(condition) if match[1]), None)
    if found:
        around = condition[max(0, found.start() - 10) : found.end() + 20]
        raise CatalogError(
            f"{found[1]} in filter {around!r} is not supported; write texts as 'text', and numbers without quotes"
        )


def _check_whole(condition: str) -> None:
    depth = 0
    for token in _TOKENS.findall(condition):
        if token in ("--", "/*"):
            raise CatalogError(f"condition {condition!r} contains a comment; remove the comment")
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            break
    if depth:
        raise CatalogError(
            f"condition {condition!r} has brackets that don't match; close each open bracket once"
        )
    if not condition.strip():
        raise CatalogError("a condition is empty; remove it, or write SQL over the catalog's columns")


def parts(condition: str) -> list[str]:
    """The conditions that `all_of` joined. Any other condition is one part."""
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
