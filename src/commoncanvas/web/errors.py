"""How an answer says in JSON what went wrong. A server whose clients expect another form gives its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

ErrorForm = Callable[[int, str], dict[str, Any]]
"""(status, text) -> the answer's body."""


def plain(status: int, text: str) -> dict[str, Any]:
    """`{"error": text}`."""
    return {"error": text}
