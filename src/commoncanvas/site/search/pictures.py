"""The picture of a row, at a few sizes: `/images/CATALOG/IMAGE_ID?px=256`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from commoncanvas.catalog.searching.searcher import Searcher
from commoncanvas.core.errors import CatalogError, DecoderError, ImageError, PlatformError
from commoncanvas.core.kept import Kept
from commoncanvas.images.tasks import SHRINKERS, shrunk
from commoncanvas.site.shown import THUMBNAIL

SIZES = (THUMBNAIL, 512, 1024)
"""Pixels of the longer side."""
KEPT_BYTES = 64 * 2**20
FRESH_S = 300
"""A browser asks again after this time: a picture that was taken down leaves its memory too."""
NO_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 256 256" width="256" height="256">'
    b'<g fill="none" stroke="#83888e" stroke-width="6" stroke-linejoin="round">'
    b'<rect x="68" y="78" width="120" height="100" rx="10"/><path d="m74 164 34-38 26 26 18-16 30 30"/>'
    b'<circle cx="154" cy="108" r="10"/></g></svg>'
)


@dataclass(frozen=True)
class Picture:
    """A file. `tag`: what it was made from."""

    tag: str
    content: bytes
    media_type: str = "image/webp"


class Pictures:
    """Makes the pictures of a catalog, and keeps those that were asked for last."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self._kept: Kept[str, Picture] = Kept(KEPT_BYTES, lambda picture: len(picture.content))

    def picture(self, image_id: str, pixels: int, known: str | None) -> Picture | str | None:
        """At most `pixels` wide and high. `known`: the tag of what the browser has; the same tag alone if that is
        still right. None if there is no such row. Raises CatalogError, DecoderError, PlatformError.
        """
        row = self._searcher.row(image_id, ("sha256", "width"))
        if row is None:
            return None
        tag = _tag(f"{row['sha256']}-{row['width']}-{pixels}") if row["sha256"] else None
        if tag is not None and tag == known:
            return tag
        kept = None if tag is None else self._kept.get(tag)
        if kept is not None:
            return kept
        row = self._searcher.row(image_id, ("image",))
        if row is None:
            return None
        data: bytes = row["image"] or b""
        made = _made(data, pixels, tag or _tag(f"{hashlib.sha256(data).hexdigest()}-{pixels}"))
        self._kept.put(made.tag, made)
        return made.tag if made.tag == known else made


def add_pictures(app: FastAPI, searchers: Mapping[str, Searcher]) -> None:
    """Add the route. Strangers' files are decoded in other processes, a few at a time."""
    pictures = {name: Pictures(searcher) for name, searcher in searchers.items()}
    few = CapacityLimiter(2 * SHRINKERS)

    @app.get("/images/{catalog}/{image_id:path}", include_in_schema=False)
    async def picture(catalog: str, image_id: str, request: Request, px: str = str(THUMBNAIL)) -> Response:
        if px not in map(str, SIZES):
            raise HTTPException(400, f"px is not one of {', '.join(map(str, SIZES))}")
        if catalog not in pictures:
            raise HTTPException(404, "there is no such catalog")
        known = request.headers.get("if-none-match")
        try:
            found = await to_thread.run_sync(pictures[catalog].picture, image_id, int(px), known, limiter=few)
        except (CatalogError, DecoderError, PlatformError) as error:
            raise HTTPException(503, "pictures can't be read now; try again") from error
        if found is None:
            raise HTTPException(404, "there is no such image, or no longer")
        headers = {"cache-control": f"private, max-age={FRESH_S}"}
        if isinstance(found, str):
            return Response(status_code=304, headers={"etag": found, **headers})
        return Response(found.content, media_type=found.media_type, headers={"etag": found.tag, **headers})


def _made(data: bytes, pixels: int, tag: str) -> Picture:
    try:
        return Picture(tag, shrunk(data, pixels))
    except ImageError:
        return Picture(tag, NO_PICTURE, "image/svg+xml")


def _tag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
