"""What every reader yields."""

from __future__ import annotations

from typing import Any

Record = tuple[str, dict[str, Any]]
"""(where it stands, such as `metadata.csv:17`; column -> value)"""
