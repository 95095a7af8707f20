"""`commoncanvas release ...`: one thin function for each command."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, show
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import counted

app = App(name="release", help="Publish models, and check what others have published.")


@app.command
def check(
    model: str,
    *,
    catalog: Annotated[list[str] | None, Parameter(negative="")] = None,
    json_: Json = False,
) -> None:
    """Check a model folder: files and digests, formats, licence, rows, credits, and images that were taken down since.
    The exit code is 2 if there is a problem.

    Args:
        model: folder that `train` wrote, or a copy of it.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
    """
    from commoncanvas.release.check import check_model

    found = check_model(model, catalog or ())
    show(found, json_)
    if found.problems:
        raise ModelError(f"{model}: {counted(len(found.problems), 'checks')} found a problem")
