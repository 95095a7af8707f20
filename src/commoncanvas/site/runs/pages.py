"""Routes of the pages about runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Query
from starlette.exceptions import HTTPException
from starlette.responses import Response

from commoncanvas.core.text import visible
from commoncanvas.release.model.log import LOG
from commoncanvas.serving.errors import ERRORS
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.runs.answers import RunAnswer, RunsAnswer, ordered, run_answer
from commoncanvas.site.runs.curve import LAST, SPANS, VALUE
from commoncanvas.site.runs.figures import about
from commoncanvas.site.runs.follow import Follower, Followers
from commoncanvas.site.runs.found import runs_of
from commoncanvas.site.runs.record import differences, recipe_of, steps_of, yaml_of
from commoncanvas.site.runs.samples import sheets_of
from commoncanvas.site.runs.state import State, state_of
from commoncanvas.site.runs.wall import wall
from commoncanvas.web.app import Pages, Section

PATH = "/runs"
MOST_COMPARED = 5
"""Runs in one plot besides the page's own; as many as there are colours."""
SHOWN_LINES = 20
PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}, 404: ERRORS[404]}


def add(app: FastAPI, pages: Pages, site: Site) -> None:
    followers = Followers()

    def folder_of(name: str) -> Path:
        folder = runs_of(site).get(name)
        if folder is None:
            raise HTTPException(404, "there is no such run")
        return folder

    @app.get(PATH, include_in_schema=False)
    def runs() -> Response:
        found = {name: _state(folder) for name, folder in runs_of(site).items()}
        return pages.page("runs.html.j2", runs=found, path=run_path)

    @app.get(PATH + "/{name}", include_in_schema=False)
    def run(
        name: str,
        others: Annotated[list[str] | None, Query(alias="with")] = None,
        step: str = "",
        prompt: str = "",
    ) -> Response:
        everything = runs_of(site)
        folder_of(name)
        compared = [each for each in dict.fromkeys(others or ()) if each in everything and each != name]
        shown = {each: everything[each] for each in (name, *compared[:MOST_COMPARED])}
        return pages.page("run.html.j2", **_page(name, shown, list(everything), followers, step, prompt))

    @app.get("/api/runs", responses={401: ERRORS[401]})
    def states() -> RunsAnswer:
        return RunsAnswer(runs={visible(name): _state(folder).word for name, folder in runs_of(site).items()})

    @app.get("/api/runs/{name}", responses={401: ERRORS[401], 404: ERRORS[404]})
    def follow(
        name: str,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        version: Annotated[str, Query(max_length=64)] = "",
    ) -> RunAnswer:
        folder = folder_of(name)
        return run_answer(name, _state(folder), followers.of(folder / LOG), version, after)

    @app.get("/api/runs/{name}/samples/{step}", responses=PNG, response_class=Response)
    def samples(
        name: str, step: int, cell: Annotated[int | None, Query(ge=0)] = None, changed: str = ""
    ) -> Response:
        sheet = next((each for each in sheets_of(folder_of(name)) if each.step == step), None)
        content = sheet.content(cell) if sheet else None
        if content is None:
            raise HTTPException(404, "there is no such image")
        headers = {"cache-control": "private, max-age=3600"} if changed else {}
        return Response(content, media_type="image/png", headers=headers)


def run_path(name: str) -> str:
    """Of the page of a run."""
    return f"{PATH}/{quote(name, safe='')}"


def _state(folder: Path) -> State:
    return state_of(folder, steps_of(recipe_of(folder)))


def _page(
    name: str,
    shown: Mapping[str, Path],
    everything: list[str],
    followers: Followers,
    step: str,
    prompt: str,
) -> dict[str, Any]:
    """What the template of a run shows. `shown`: the run, and those that it is compared with."""
    recipes = [recipe_of(folder) for folder in shown.values()]
    states = [
        state_of(folder, steps_of(recipe)) for folder, recipe in zip(shown.values(), recipes, strict=True)
    ]
    follower = [followers.of(folder / LOG) for folder in shown.values()]
    return {
        "name": name,
        "state": states[0],
        "shown": list(shown),
        "others": [each for each in everything if each != name],
        "path": run_path,
        "spans": SPANS,
        "most": MOST_COMPARED,
        "short": lambda value: f"{value:.4g}",
        "figures": _figures(states, follower),
        "lines": states[0].lines[-SHOWN_LINES:],
        "recipe": yaml_of(recipes[0]),
        "differences": differences(recipes),
        "samples": wall(name, sheets_of(shown[name]), step, prompt, list(shown)[1:]),
    }


def _figures(
    states: list[State], followers: list[Follower]
) -> list[tuple[str, list[tuple[float, int] | None]]]:
    """The last value of each figure, and its step, for each run."""
    found: dict[str, list[tuple[float, int] | None]] = {}
    for number, follower in enumerate(followers):
        with follower.reading():
            last = {name: curve.buckets[-1] for name, curve in ordered(follower.curves).items()}
        for name, bucket in last.items():
            values = found.setdefault(name, [None] * len(states))
            values[number] = (float(bucket[VALUE]), int(bucket[LAST]))
    return [(about(name).title, values) for name, values in found.items()]


RUNS = Room(
    "commoncanvas.site.runs",
    Section(PATH, "Runs"),
    lambda site: bool(site.runs or runs_of(site)),
    add,
)
