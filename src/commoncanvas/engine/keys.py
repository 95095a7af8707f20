"""The keys of object stores, as the environment of a driver has them, for its workers on other machines."""

from __future__ import annotations

import os
from collections.abc import Mapping

STORES = ("AWS_", "GOOGLE_", "AZURE_")
_OF_THIS_MACHINE = (
    *("_FILE", "_URI", "_PATH", "_PROFILE", "_ROLE_ARN", "_EXECUTION_ENV"),
    *("_APPLICATION_CREDENTIALS", "_SERVICE_ACCOUNT"),
)
"""Endings of names of files, roles and services that another machine has its own of, or doesn't have."""
_TOGETHER = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def store_keys(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """The variables by which Lance finds an object store and opens it; None for one that a worker must not have.

    A worker's own key beside a driver's secret, or an old session token beside both, would open nothing.
    """
    found: dict[str, str | None] = {
        name: value
        for name, value in environment.items()
        if name.startswith(STORES) and not name.endswith(_OF_THIS_MACHINE)
    }
    if any(name in found for name in _TOGETHER):
        found = dict.fromkeys(_TOGETHER) | found
    return found
