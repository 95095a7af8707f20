"""The documents of a model's release. PAPERS lists them in the order in which they are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers import eu_summary, openness, space, spdx, technical_report

Paper = Callable[[ModelFolder, Path, About], None]

PAPERS: tuple[Paper, ...] = (
    eu_summary.write,
    technical_report.write,
    space.write,
    openness.write,  # counts what the others wrote
    spdx.write,
)
