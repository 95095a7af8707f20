"""The training's log and its plots."""

from __future__ import annotations

import shutil
from pathlib import Path

from commoncanvas.core.errors import MissingExtraError
from commoncanvas.core.files import replace_text
from commoncanvas.training.log import read_log

FOLDER = "training"
LOG = "log.jsonl"
PLOTTED = ("loss", "validation_loss", "learning_rate")
MOST = 2000
"""Most points of a plot."""


def run_of(model: Path) -> Path:
    """The folder of the run that made a model."""
    model = model.resolve()
    return model.with_name(f"{model.name}-run")


def write_log(model: Path, out: Path) -> None:
    """Copy the log of the run that made `model` into `out`/training, with a plot of each of PLOTTED; nothing if the run
    is not beside the model. Raises MissingExtraError.
    """
    log = run_of(model) / LOG
    if not log.is_file():
        return
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    shutil.copyfile(log, folder / LOG)
    entries = read_log(log)
    try:
        from commoncanvas.pages.plots import line_chart, loss_chart

        for name in PLOTTED:
            points = [(entry["step"], entry[name]) for entry in entries if name in entry]
            points = points[:: -(-len(points) // MOST) or 1]
            draw = line_chart if name == "learning_rate" else loss_chart
            if points:
                replace_text(folder / f"{name}.svg", draw(points))
    except ImportError as error:
        raise MissingExtraError("matplotlib is missing; pip install 'commoncanvas[train]'") from error
