"""The extras of this package, which bring the optional packages of others."""

from __future__ import annotations

import re

from commoncanvas.core.errors import MissingExtraError

_REQUIREMENT = re.compile(r"(?P<package>[\w.-]+).*;.*extra == ['\"](?P<extra>[\w-]+)['\"]")


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """What to install, if the module that `error` misses comes with an extra; None if it does not."""
    # Its modules are many, and every process imports this one.
    from importlib.metadata import PackageNotFoundError, requires

    package = (error.name or "").partition(".")[0]
    try:
        found = map(_REQUIREMENT.match, requires("commoncanvas") or ())
    except PackageNotFoundError:
        return None
    for requirement in filter(None, found):
        if _normal(requirement["package"]) == _normal(package):
            return MissingExtraError(
                f"{package} is not installed; pip install 'commoncanvas[{requirement['extra']}]'"
            )
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
