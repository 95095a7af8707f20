"""Scripts, styles and icons of a server, read once and kept in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import Response

KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
STYLE = "site.css"


@dataclass(frozen=True)
class Asset:
    """One file, its media type, and the digest by which a browser asks whether it changed."""

    content: bytes
    media_type: str

    def answer(self, request: Request) -> Response:
        tag = f'"{hashlib.sha256(self.content).hexdigest()[:24]}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def assets_of(packages: tuple[str, ...], templates: Environment) -> dict[str, Asset]:
    """The files in the folders `static` of some rooms by name, and the stylesheet, which is a template."""
    found = {STYLE: Asset(templates.get_template("site.css.j2").render().encode(), KINDS[".css"])}
    for package in packages:
        folder = files(package) / "static"
        for file in folder.iterdir() if folder.is_dir() else ():
            kind = KINDS.get(f".{file.name.rpartition('.')[2]}")
            if kind is not None:
                found[file.name] = Asset(file.read_bytes(), kind)
    return found
