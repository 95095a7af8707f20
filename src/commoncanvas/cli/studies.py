"""`commoncanvas study ...`: one thin function a study."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, Overrides, show
from commoncanvas.core.console import say

app = App(name="study", help="Questions that take several trainings of one recipe to answer.")


@app.command
def scarcity(
    recipe: str,
    *overrides: Overrides,
    fractions: Annotated[list[float], Parameter(consume_multiple=True, negative="")],
    seeds: int = 1,
    prompts: int = 64,
    out: str | None = None,
    json_: Json = False,
) -> None:
    """Train RECIPE on nested random fractions of its images, the same steps each, and judge all on the same held-out
    prompts: a table, a plot and a page. Stopped or killed and run again, it goes on.

    Args:
        fractions: shares of the training images, such as 0.01 0.03 0.1 0.3 1.
        seeds: trainings of each fraction, each of other images and other noise; 3 show what chance alone does.
        prompts: of the evaluation, seen and held out, at most.
        out: folder of the models and results; default: the recipe's, with -scarcity.
    """
    from commoncanvas.config import load_recipe
    from commoncanvas.studies.scarcity import PAGE, study_scarcity

    found = study_scarcity(load_recipe(recipe, overrides), fractions, seeds=seeds, prompts=prompts, out=out)
    show(found, json_)
    say(f"{found.folder}/{PAGE}", title="plot and page:")
