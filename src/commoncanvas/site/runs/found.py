"""Where the runs of a site are. Looked for at each request: a training that begins later has its page too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from commoncanvas.core.text import encodes
from commoncanvas.release.model.log import LOG, run_of
from commoncanvas.site.parts import Site
from commoncanvas.site.runs.record import RECORD


def runs_of(site: Site) -> dict[str, Path]:
    """Folders by the names that stand in addresses: those that were given, those in given folders, and those beside
    models. Of several with one name, the later ones have a number.
    """
    found: dict[str, Path] = {}
    for folder in dict.fromkeys(_folders(site)):
        if not encodes(folder.name):
            continue
        names = [folder.name, *(f"{folder.name} ({number})" for number in range(2, len(found) + 3))]
        found[next(name for name in names if name not in found)] = folder
    return found


def _folders(site: Site) -> Iterator[Path]:
    for given in site.runs:
        yield from _within(given.absolute())
    models = [Path(site.drawing.model)] if site.drawing else []
    for model in (*models, *site.models):
        run = run_of(model)
        if _is_run(run):
            yield run


def _within(folder: Path) -> Iterator[Path]:
    """The folder if it has a log; if not, those in it that have one."""
    try:
        if _is_run(folder):
            yield folder
        elif folder.is_dir():
            yield from sorted(each for each in folder.iterdir() if each.is_dir() and _is_run(each))
    except OSError:
        return


def _is_run(folder: Path) -> bool:
    """Whether it has a log, or a record: a training that has just begun has no line yet."""
    try:
        return (folder / LOG).is_file() or (folder / RECORD).is_file()
    except OSError:
        return False
