"""Start the server of an arena: who may use it, where it listens, and only once at a time."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.core.console import say
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.files import only_one
from commoncanvas.web.tokens import given_tokens, must_have_tokens


def serve_arena(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    token: str | None = None,
    token_file: str | Path | None = None,
) -> None:
    """Serve an arena until SIGTERM or Ctrl-C. Raises ArenaError, ServerError and MissingExtraError.

    `token`: what raters must know. `token_file`: names and digests of several; if it is missing, it is made with a new
    token, which is shown once.
    """
    from commoncanvas.arena.database import FILE
    from commoncanvas.arena.server import arena_app
    from commoncanvas.web.serve import address_of, listen, serve

    if not (Path(folder) / FILE).exists():
        raise ArenaError(f"{folder} is not an arena; commoncanvas arena build makes one")
    tokens, new = given_tokens(token, token_file)
    must_have_tokens(host, tokens)
    with only_one(Path(folder)), listen(host, port) as listening:
        app = arena_app(Path(folder), tokens)
        address = address_of(listening, host)
        if new is not None:
            say(new, title="access token, shown only now:")
            say("raters type it on the first page, or open a link that ends with ?token= and the token")
        serve(app, listening, address)
