"""Access tokens. Only their digests are kept, and they are compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from commoncanvas.core.errors import ServerError
from commoncanvas.core.files import why

FEWEST_CHARACTERS = 16
"""Of a token: a server that answers quickly must not be guessed at."""
_LINE = re.compile(r"(?P<name>[\w.@-]{1,64})\s+sha256:(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True)
class Tokens:
    """Who may use a server: the SHA-256 of each token, and its name. Without tokens, everybody may."""

    digests: dict[str, bytes] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.digests)

    @property
    def cookie(self) -> str:
        """The name of the cookie: browsers send a host's cookies to all its ports, where other servers may listen."""
        return f"access-{hashlib.sha256(b''.join(self.digests.values())).hexdigest()[:8]}"

    def name_of(self, token: str) -> str | None:
        """The name of a token; None if it is unknown. Takes the same time whichever token it is."""
        asked = _digest(token)
        found = [name for name, digest in self.digests.items() if hmac.compare_digest(digest, asked)]
        return found[0] if found else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def one_token(token: str) -> Tokens:
    """The only token of a server. Raises ServerError if it is short."""
    if len(token) < FEWEST_CHARACTERS:
        raise ServerError(f"the token has {len(token)} characters; use at least {FEWEST_CHARACTERS}")
    return Tokens({"token": _digest(token)})


def read_tokens(path: Path) -> Tokens:
    """A file of tokens: on each line a name and `sha256:` with the token's digest in hexadecimal digits.

    Raises ServerError that names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error) if isinstance(error, OSError) else "not UTF-8"
        raise ServerError(f"{path} can't be read: {reason}") from error
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line.strip())
        if parts is None:
            raise ServerError(
                f"{path}, line {number}: not a name and sha256:DIGEST; a token itself must not be in this file"
            )
        found[parts["name"]] = bytes.fromhex(parts["digest"])
    if not found:
        raise ServerError(f"{path} has no tokens; remove it, and a new token is made")
    return Tokens(found)


def new_token(path: Path, name: str = "access") -> str:
    """Make a token, write its digest into a new file with mode 0600, and return the token: it is stored nowhere."""
    token = secrets.token_urlsafe(24)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"# NAME sha256:DIGEST, a line for each token\n{name} sha256:{_digest(token).hex()}\n")
    except OSError as error:
        raise ServerError(f"{path} can't be written: {why(error)}") from error
    return token


def given_tokens(token: str | None, file: str | Path | None) -> tuple[Tokens, str | None]:
    """The tokens of a server, from a token or from a file of them; and the one that was made because the file was
    missing, which must be shown now. Raises ServerError.
    """
    if token is not None and file is not None:
        raise ServerError("give --token or --token-file, not both")
    if token is not None:
        return one_token(token), None
    if file is None:
        return Tokens(), None
    path = Path(file)
    new = None if path.exists() else new_token(path)
    return read_tokens(path), new


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens at `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def must_have_tokens(host: str, tokens: Tokens) -> None:
    """Raise ServerError if others can reach `host` and no token keeps them out."""
    if not tokens and not is_loopback(host):
        raise ServerError(
            f"host {host}: other machines can reach it, so it needs a token; add --token-file FILE, "
            "or listen at 127.0.0.1"
        )
