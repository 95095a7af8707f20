"""The models of a site by the names that stand in addresses: the one that draws, and those that only have a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.models.pretrained import model_folder
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.site.parts import Site

REQUIRES = ("name", "task", "catalogs", "rows", "licenses", "creators", "result_license", "built_on")


@dataclass(frozen=True)
class Model:
    """A model. `given`: as the user gave it. `folder`: None if it is on a hub. `record`: its provenance.json, None if
    it has none that can be read; `problem` says why. `draws`: whether this server draws with it.
    """

    name: str
    given: str
    folder: Path | None
    draws: bool = False
    record: dict[str, Any] | None = None
    problem: str = ""

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/models/{quote(self.name, safe='')}"


def models_of(site: Site) -> dict[str, Model]:
    """The models by their names, the one that draws first. A second one of a name gets a number."""
    found: dict[str, Model] = {}
    folders: set[Path] = set()
    for name, given, draws in _given(site):
        folder = Path(model_folder(given))
        known = folder.resolve() if folder.is_dir() else None
        if known is not None and known in folders:
            continue
        record, problem = _record(known)
        name = name or one_line(record["name"] if record else folder.name)
        name = name.replace("/", "-").strip(". ") or "model"
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}-{number}"
        found[free] = Model(free, given, known, draws, record, problem)
        folders |= {known} if known else set()
    return found


def _given(site: Site) -> Iterator[tuple[str | None, str, bool]]:
    """Name, if it has one already; place; whether it draws."""
    if site.drawing is not None:
        yield site.drawing.name, site.drawing.model, True
    for folder in site.models:
        yield None, str(folder), False


def _record(folder: Path | None) -> tuple[dict[str, Any] | None, str]:
    if folder is None:
        return None, "Its folder is not on this machine, so what it learned from is not known here."
    try:
        return read_provenance(folder, REQUIRES), ""
    except ModelError as error:
        # The folder's place is nobody's business.
        return None, one_line(str(error).replace(str(folder), folder.name))
