"""Keys of object stores from the driver's environment, for its workers on other machines."""

from __future__ import annotations

import os
from collections.abc import Mapping

STORES = ("AWS_", "GOOGLE_", "AZURE_")
_OF_THIS_MACHINE = (
    *("_FILE", "_URI", "_PATH", "_PROFILE", "_ROLE_ARN", "_EXECUTION_ENV"),
    *("_APPLICATION_CREDENTIALS", "_SERVICE_ACCOUNT"),
)
"""Name endings of variables for files, roles and services, which are different on each machine."""
_TOGETHER = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def store_keys(environment: Mapping[str, str] = os.environ) -> dict[str, str | None]:
    """The variables that Lance uses to open an object store; None for a variable that a worker must not have.

    A worker's key with the driver's secret, or with an old session token, would not work.
    """
    found: dict[str, str | None] = {
        name: value
        for name, value in environment.items()
        if name.startswith(STORES) and not name.endswith(_OF_THIS_MACHINE)
    }
    if any(name in found for name in _TOGETHER):
        found = dict.fromkeys(_TOGETHER) | found
    return found
