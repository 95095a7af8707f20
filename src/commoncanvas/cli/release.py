"""`commoncanvas release ...`: one thin function for each command."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, show
from commoncanvas.core.console import say
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


@app.command
def model(
    model: str,
    *,
    out: str,
    checkpoints: str = "none",
    name: str | None = None,
    data: str | None = None,
    catalog: Annotated[list[str] | None, Parameter(negative="")] = None,
    push: str | None = None,
    private: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Write a trained model as a folder to publish: weights, model card, licence, credits and a page that searches
    them, provenance, recipe, training log, and the sums of all files. A release that was stopped goes on.

    Args:
        model: folder that `train` wrote.
        out: the new folder.
        checkpoints: intermediate checkpoints: all, how many of the newest, or none.
        name: the model's id on the hub, owner/name; default: that of --push.
        data: id of the published data that it learned from, owner/name.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
        push: send the folder to this repository of the Hugging Face hub, owner/name. It shows what, and asks first.
        private: the new repository is private.
        yes: send without asking.
    """
    from commoncanvas.release.model.command import release_model

    found = release_model(
        model, out, checkpoints=checkpoints, name=name or push, data=data, catalog=catalog or ()
    )
    show(found, json_)
    if push:
        from commoncanvas.release import push as hub

        sent = hub.push(out, push, private=private, agreed=hub.show if yes else hub.ask)
        say(f"sent: {sent}" if sent else "nothing was sent")
