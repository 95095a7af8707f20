"""`commoncanvas study ...`: one thin function for each study."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, Overrides, RecipeName, importing, show
from commoncanvas.core.console import say

app = App(name="study", help="Answer a question by training one recipe several times.")


@app.command
def scarcity(
    recipe: RecipeName,
    *overrides: Overrides,
    fractions: Annotated[list[float], Parameter(consume_multiple=True, negative="")],
    seeds: int = 1,
    prompts: int = 64,
    out: str | None = None,
    json_: Json = False,
) -> None:
    """Train RECIPE on nested random fractions of its images, for the same number of steps, and evaluate all models on
    the same held-out prompts. Writes a table, a plot and a page. Run it again after a stop: it continues.

    Args:
        fractions: fractions of the training images, such as 0.01 0.03 0.1 0.3 1.
        seeds: trainings per fraction, with different images and noise; use 3 to see how much results vary by chance.
        prompts: most seen and most held-out prompts of the evaluation.
        out: folder for the models and results; default: the recipe's output folder with -scarcity added.
    """
    from commoncanvas.config import load_recipe

    with importing():
        from commoncanvas.studies.scarcity import PAGE, study_scarcity

    found = study_scarcity(load_recipe(recipe, overrides), fractions, seeds=seeds, prompts=prompts, out=out)
    show(found, json_)
    say(f"{found.folder}/{PAGE}", title="plot and page:")
