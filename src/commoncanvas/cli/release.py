"""`commoncanvas release ...`: one thin function for each command."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, Uri, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.text import counted

app = App(name="release", help="Publish models, and check what others have published.")


@app.command
def check(
    folder: str,
    *,
    catalog: Annotated[list[str] | None, Parameter(negative="")] = None,
    json_: Json = False,
) -> None:
    """Check a model or a data set: files and digests, formats, licences, rows, credits, and images that were taken down
    since. The exit code is 2 if there is a problem.

    Args:
        folder: folder that `train` or `release data` wrote, or a copy of it.
        catalog: the catalog's URI; default for a model: the URI at training. With several: NAME=URI for each moved one.
    """
    from commoncanvas.release.check_release import check_release

    found = check_release(folder, catalog or ())
    show(found, json_)
    if found.problems:
        raise CommonCanvasError(f"{folder}: {counted(len(found.problems), 'checks')} found a problem")


@app.command
def data(
    *,
    catalog: Uri,
    tag: str,
    out: str,
    images: bool = True,
    format: Literal["huggingface", "parquet", "webdataset"] = "huggingface",
    about: str | None = None,
    since: str | None = None,
    shard_size: str = "1GB",
    push: str | None = None,
    private: Annotated[bool, Parameter(negative="")] = False,
    yes: Annotated[bool, Parameter(negative="")] = False,
    json_: Json = False,
) -> None:
    """Write the rows of a tag as a data set to publish: shards, card, datasheet, licences, credits, Croissant metadata,
    sums, and the list of what was removed.

    Args:
        tag: name of a saved filter, or another tag of the catalog.
        out: folder to write; if the release was killed, run it again with this folder to continue.
        images: the images, or only what is needed to fetch them again.
        format: huggingface (Parquet for the hub), parquet, or webdataset (tar files).
        about: YAML file with what only you can say: provider, contact, title, answers to the datasheet's questions;
            `release about` writes the questions.
        since: folder of the former release; removed.parquet then lists what was taken down of it.
        shard_size: size of a shard, in bytes of images (500MB) or in rows (10000).
        push: send the folder to this repository of the Hugging Face hub, owner/name. It shows what, and asks first.
        private: the new repository is private.
        yes: send without asking.
    """
    from commoncanvas.release.data import release_data

    released = release_data(
        catalog, out, tag=tag, images=images, format=format, about=about, since=since, shard_size=shard_size
    )
    show(released, json_)
    if push:
        _push(out, push, "dataset", private, yes)


@app.command
def model(
    model: str,
    *,
    out: str,
    checkpoints: str = "none",
    name: str | None = None,
    data: str | None = None,
    about: str | None = None,
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
        about: YAML file with what only you can say: provider, contact, intended use; `release about` writes the
            questions.
        catalog: the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.
        push: send the folder to this repository of the Hugging Face hub, owner/name. It shows what, and asks first.
        private: the new repository is private.
        yes: send without asking.
    """
    from commoncanvas.release.model.command import release_model

    found = release_model(
        model, out, checkpoints=checkpoints, name=name or push, data=data, about=about, catalog=catalog or ()
    )
    show(found, json_)
    if push:
        _push(out, push, "model", private, yes)


@app.command
def about() -> None:
    """Print the questions that only the provider can answer, as a YAML file for `--about` of `release model` and
    `release data`.
    """
    from commoncanvas.release.about_file import template

    print(template(), end="")


def _push(out: str, repo: str, kind: Literal["model", "dataset"], private: bool, yes: bool) -> None:
    from commoncanvas.release import push as hub

    sent = hub.push(out, repo, kind=kind, private=private, agreed=hub.show if yes else hub.ask)
    say(f"sent: {sent}" if sent else "nothing was sent")
