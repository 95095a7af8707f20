"""What a server shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI

from commoncanvas.options.serve import DEFAULTS, ServeOptions
from commoncanvas.table.table import Catalog
from commoncanvas.web.app import Pages, Section

if TYPE_CHECKING:  # torch: a server without a model starts without it
    from commoncanvas.serving.answers import Studio
    from commoncanvas.site.sources import SourceDesk


@dataclass(frozen=True)
class Drawing:
    """The model that draws.

    `name`: what clients call it. `model`: as the user gave it, a folder, a hub id, or xs. `sources`: who finds its
    training images.
    """

    studio: Studio
    name: str
    model: str
    sources: SourceDesk


@dataclass(frozen=True)
class Site:
    """The parts of a server; each part that is there has its pages.

    `catalogs`: by the name that stands in addresses. `models`: folders that `train` wrote. `runs`: folders with the
    log of a training. `requests`: the folder for people's requests to take pictures out; None: beside each catalog.
    """

    drawing: Drawing | None = None
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    models: tuple[Path, ...] = ()
    runs: tuple[Path, ...] = ()
    requests: Path | None = None
    limits: ServeOptions = DEFAULTS


@dataclass(frozen=True)
class Room:
    """The pages of one part. `package` has its folders `templates` and `static`.

    `section`: what the header links to; None if no link is needed. `shown`: whether a site has this part. `add`: adds
    the routes. `larger_bodies`: paths that take pictures -> most bytes of a request.
    """

    package: str
    section: Section | None
    shown: Callable[[Site], bool]
    add: Callable[[FastAPI, Pages, Site], None]
    larger_bodies: Mapping[str, int] = field(default_factory=dict)
