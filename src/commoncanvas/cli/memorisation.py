"""`commoncanvas memorisation` and `commoncanvas sources`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from commoncanvas.cli.shared import Json, importing, show
from commoncanvas.core.console import say
from commoncanvas.core.errors import ModelError

Catalogs = Annotated[
    list[str] | None,
    Parameter(
        negative="",
        help="the catalog's URI; default: the URI at training. With several catalogs: NAME=URI for each moved one.",
    ),
]
Features = Annotated[
    str,
    Parameter(
        help="network that compares images: efficientnet-lite0, or another with its weights, such as sscd:FILE or "
        "dinov2:FOLDER."
    ),
]


def memorisation(
    model: str,
    *,
    catalog: Catalogs = None,
    prompts: int = 64,
    seed: int = 0,
    guidance_scale: float | None = None,
    steps: int | None = None,
    features: Features = "efficientnet-lite0",
    strangers: int = 2000,
    out: str | None = None,
    html: str | None = None,
    json_: Json = False,
) -> None:
    """Measure how often MODEL draws images of its training again: from random prompts of the training, and from those
    most at risk. Says how well known copies are found, and how many strangers are taken for copies.

    Args:
        model: folder that `train` wrote.
        prompts: most prompts of each kind.
        seed: random seed that selects prompts and images.
        guidance_scale: classifier-free guidance; 1: none; default: the model's own.
        steps: sampling steps; default: the model's own.
        strangers: most images that the model did not learn from, which set the threshold.
        out: folder for figures and images; default: MODEL/memorisation.
        html: also write a page (one file) with the closest pairs, credits and takedown commands.
    """
    with importing():
        from commoncanvas.memorisation.command import measure_memorisation as run

    found = run(
        model,
        catalog=catalog,
        prompts=prompts,
        seed=seed,
        guidance_scale=guidance_scale,
        steps=steps,
        features=features,
        strangers=strangers,
        out=out,
    )
    if html is not None:
        from commoncanvas.memorisation.page import write_memorisation_page

        write_memorisation_page(found, html)
        say(f"page written to {html}")
    show(found, json_)


def sources(
    *images: str,
    model: str,
    catalog: Catalogs = None,
    count: int = 5,
    features: Features = "efficientnet-lite0",
    json_: Json = False,
) -> None:
    """Show the training images of a model that are nearest to each IMAGE, with their credits.

    Args:
        images: JPEG, PNG or WebP files, drawn by the model or not.
        model: folder that `train` wrote, or xs.
        count: training images for each.
    """
    with importing():
        from commoncanvas.memorisation.sources import sources as run

    if not images:
        raise ModelError("name at least one image")
    found = run(images, model, catalog=catalog, count=count, features=features)
    if json_:
        show([each.to_dict() for each in found], True)
    for each in () if json_ else found:
        if len(found) > 1:
            say(each.image)
        show(each, False)
