"""`commoncanvas arena ...`: one thin function for each command."""

from __future__ import annotations

import os
from typing import Annotated

from cyclopts import App, Parameter

from commoncanvas.cli.shared import Json, show
from commoncanvas.core.console import say
from commoncanvas.options.arena import DEFAULTS as ARENA_DEFAULTS
from commoncanvas.options.arena import ArenaOptions
from commoncanvas.options.generate import DEFAULTS as DRAW_DEFAULTS
from commoncanvas.options.generate import DrawOptions

app = App(name="arena", help="Blind comparisons of models by people.")
TOKEN = "COMMONCANVAS_TOKEN"


@app.command
def build(
    *,
    models: Annotated[list[str], Parameter(consume_multiple=True, negative="")],
    prompts: str,
    out: str,
    drawing: Annotated[DrawOptions, Parameter(name="*")] = DRAW_DEFAULTS,
    asking: Annotated[ArenaOptions, Parameter(name="*")] = ARENA_DEFAULTS,
    json_: Json = False,
) -> None:
    """Draw images of several models for the same prompts, and make blind pairs of them. Run it again to continue after
    a stop, or to add models, prompts or images to an arena, even while it is served: votes stay.

    Args:
        models: model folders, hub ids, or folders of ready images; NAME=FOLDER gives a name.
        prompts: parti:PartiPrompts.tsv, or another benchmark and its file; or a file of your own: a prompt on each
            line, or CSV or TSV with the columns prompt and category.
        out: the arena's folder.
    """
    from commoncanvas.arena.command import build as run

    built = run(models, prompts, out, drawing, asking)
    show(built, json_)
    say(f"commoncanvas arena serve {out}" if built.pairs else "add a second model", title="next:")


@app.command
def serve(
    arena: str,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    token_file: str | None = None,
) -> None:
    """Serve an ARENA to raters until Ctrl-C or SIGTERM. Each vote is on the disk before the next pair is shown.

    Args:
        arena: folder that `arena build` made.
        host: address to listen at; 0.0.0.0 for other machines, which needs a token.
        port: port to listen at; 0: any free one.
        token: what raters must know, at least 16 characters; the variable COMMONCANVAS_TOKEN is less visible.
        token_file: file with the digests of tokens; if it is missing, it is made, and a new token is shown.
    """
    from commoncanvas.arena.serving import serve_arena

    given = token or (None if token_file else os.environ.get(TOKEN)) or None
    serve_arena(arena, host=host, port=port, token=given, token_file=token_file)


@app.command
def forget(arena: str, *, rater: str, json_: Json = False) -> None:
    """Delete one rater's votes and code from an ARENA, also while it is served. It can't be undone. Files that `export`
    and `report` wrote before still have them: write them again.

    Args:
        arena: folder that `arena build` made.
        rater: the rater's code, or a worker's id of a crowd platform.
    """
    from commoncanvas.arena.forget import forget as run

    show(run(arena, rater), json_)
