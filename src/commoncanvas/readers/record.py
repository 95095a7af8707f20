"""The type that every reader yields."""

from __future__ import annotations

from typing import Any

Record = tuple[str, dict[str, Any]]
"""(place in the input, such as `metadata.csv:17`; column -> value)"""
