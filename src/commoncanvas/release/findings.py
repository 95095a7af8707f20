"""What the check of a folder found, and what the checks of models and data share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml

from commoncanvas.core.console import Printed
from commoncanvas.core.text import clean, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of files that may run code when they are loaded."""
SHOWN = 5
"""Most ids or files that are named for one problem."""

Folder = TypeVar("Folder")


@dataclass(frozen=True)
class Finding:
    """What one check found. `details`: the problems, or why it was not checked."""

    check: str
    verdict: Literal["ok", "problem", "not checked"]
    details: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class ReleaseCheck(Printed):
    """The checks of a folder."""

    folder: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.verdict == "problem")

    def render(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table("check", "", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        styles = {"ok": "green", "problem": "bold red", "not checked": "yellow"}
        for each in self.findings:
            details = Text("\n".join(clean(line) or "" for line in each.details))
            table.add_row(Text(each.check), Text(each.verdict, styles[each.verdict]), details)
        return table


class NotChecked(Exception):
    """Why a check could not be made."""


def run_checks(
    name: str, folder: Folder, checks: Mapping[str, Callable[[Folder], Iterator[str]]]
) -> ReleaseCheck:
    """Make each check of the folder called `name`. A check yields its problems, or raises NotChecked."""
    return ReleaseCheck(name, tuple(_finding(check, made, folder) for check, made in checks.items()))


def _finding(name: str, check: Callable[[Folder], Iterator[str]], folder: Folder) -> Finding:
    try:
        problems = tuple(check(folder))
    except NotChecked as reason:
        return Finding(name, "not checked", (str(reason),))
    except Exception as error:  # a stranger's files may hold anything
        return Finding(name, "problem", (one_line(error),))
    return Finding(name, "problem" if problems else "ok", problems)


def pickles(folder: Path, instead: str) -> Iterator[str]:
    """The files that may run code when they are loaded. `instead`: what to publish in their place."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in PICKLES:
            name = path.relative_to(folder).as_posix()
            yield f"{name} may be a pickle, which runs code when it is loaded; publish {instead} only"


def stated_license(card: Path) -> Any:
    """`license` in the metadata of a card for the hub; None if it states none."""
    parts = card.read_text(encoding="utf-8").split("---\n")
    return (yaml.safe_load(parts[1]) or {}).get("license") if len(parts) > 2 else None


def some(names: Sequence[str]) -> str:
    """The first SHOWN names."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
