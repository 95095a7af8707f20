"""The routes of *Models*."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.numbers import size
from commoncanvas.core.text import visible
from commoncanvas.provenance.verdict import ROWS_EXPLAINED
from commoncanvas.site.model_list import Model, models_of
from commoncanvas.site.models import files
from commoncanvas.site.models.credits import credits_page, has_credits
from commoncanvas.site.models.facts import facts_of
from commoncanvas.site.models.markdown import rendered
from commoncanvas.site.parts import Room, Site
from commoncanvas.site.shown import row_path
from commoncanvas.table.sql import listed
from commoncanvas.web.app import Pages, Section

PATH, API = "/models", "/api/models"
MOST_PAGES = 100_000
MOST_WORDS = 10
CACHED = {"cache-control": "private, max-age=300"}


def add(app: FastAPI, pages: Pages, site: Site) -> None:
    """Add the routes."""

    def page(template: str, **values: Any) -> Response:
        return pages.page(template, size=size, **values)

    def model_of(name: str) -> Model:
        found = models_of(site).get(name)
        if found is None:
            raise HTTPException(404, "this server has no model of this name")
        return found

    @app.get(PATH, include_in_schema=False)
    def show_all() -> Response:
        return page("models.html.j2", models=[facts_of(each) for each in models_of(site).values()])

    @app.get(f"{PATH}/{{name}}", include_in_schema=False)
    def show(name: str) -> Response:
        return page("model.html.j2", model=facts_of(model_of(name)), rows_explained=ROWS_EXPLAINED)

    @app.get(f"{PATH}/{{name}}/documents/{{path:path}}", include_in_schema=False)
    def document(name: str, path: str) -> Response:
        model = model_of(name)
        title = files.documents(model.folder).get(path) if model.folder else None
        if title is None or model.folder is None:
            raise HTTPException(404, "this model has no such document")
        text = visible(files.text_of(model.folder, path))
        html = _html(model, path, text) if path.endswith(".md") else None
        return page("model-document.html.j2", model=model, title=title, text=text, html=html)

    @app.get(f"{PATH}/{{name}}/files/{{path:path}}", include_in_schema=False)
    def download(name: str, path: str) -> Response:
        model = model_of(name)
        if model.folder is None or path not in files.downloads(model.folder):
            raise HTTPException(404, "this model has no such file for download")
        file = model.folder / path
        return FileResponse(
            file,
            media_type="application/octet-stream",
            filename=file.name,
            headers={"cache-control": "no-cache"},
        )

    @app.get(f"{PATH}/{{name}}/pictures/{{path:path}}", include_in_schema=False)
    def picture(name: str, path: str) -> Response:
        model = model_of(name)
        if model.folder is None or path not in files.pictures(model.folder):
            raise HTTPException(404, "this model has no such picture")
        file = model.folder / path
        return FileResponse(file, media_type=files.PICTURES[file.suffix.lower()], headers=CACHED)

    @app.get(f"{PATH}/{{name}}/credits", include_in_schema=False)
    def credits(name: str, q: str = "", page: int = 1) -> Response:
        model = model_of(name)
        words = q.split()[:MOST_WORDS]
        if model.folder is None or not has_credits(model.folder):
            raise HTTPException(404, "this model has no credits")
        if not 1 <= page <= MOST_PAGES:
            raise HTTPException(422, f"page: give 1 to {MOST_PAGES:,}")
        try:
            found = credits_page(model.folder, words, page)
        except CommonCanvasError as error:
            raise HTTPException(500, str(error).replace(str(model.folder), model.name)) from error
        return pages.page(
            "model-credits.html.j2",
            model=model,
            query=q,
            number=page,
            found=found,
            credits=[asdict(each) | {"verb": each.verb} for each in found.credits],
            places=_places(site, [each.image_id for each in found.credits]),
        )

    @app.get(API)
    async def all_models() -> list[dict[str, Any]]:
        """The models of this server: licence, training images, figures with how they were measured."""
        found = await asyncio.to_thread(models_of, site)
        return [await asyncio.to_thread(facts_of, each) for each in found.values()]

    @app.get(f"{API}/{{name}}")
    async def one_model(name: str) -> dict[str, Any]:
        """One of them."""
        return await asyncio.to_thread(lambda: facts_of(model_of(name)))


def _html(model: Model, path: str, text: str) -> str:
    folder = model.folder
    assert folder is not None
    texts, loads, shown = files.documents(folder), files.downloads(folder), files.pictures(folder)

    def link(name: str) -> str | None:
        kind = "documents" if name in texts else "files" if name in loads else None
        return kind and files.address(model, kind, name)

    return rendered(
        text, path, link, lambda name: files.address(model, "pictures", name) if name in shown else None
    )


def _places(site: Site, image_ids: list[str]) -> dict[str, str]:
    """Image id -> the page of its row, of those that a catalog of this server has."""
    found: dict[str, str] = {}
    for name, catalog in site.catalogs.items():
        if image_ids:
            rows = catalog.table(["image_id"], f"image_id IN ({listed(image_ids)})")
            found = {one: row_path(name, one) for one in rows["image_id"].to_pylist()} | found
    return found


MODELS = Room(
    "commoncanvas.site.models",
    Section(PATH, "Models"),
    lambda site: site.drawing is not None or bool(site.models),
    add,
)
