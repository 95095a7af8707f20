"""Send a folder to the Hugging Face hub. What will be sent is shown first, and nothing is sent without a yes.

An upload that was stopped goes on: huggingface_hub sends only files that the hub doesn't have.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from commoncanvas.catalog.export_folder import STATE
from commoncanvas.core.console import Printed, console, say
from commoncanvas.core.errors import CommonCanvasError, MissingExtraError, ModelError
from commoncanvas.core.numbers import size
from commoncanvas.core.text import clean, counted, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 8
"""Largest files that are named."""

Kind = Literal["model", "dataset"]


@dataclass(frozen=True, repr=False)
class Plan(Printed):
    """What will be sent, and where to. `files`: path and bytes. `exists`: the repository is there already."""

    folder: str
    repo: str
    kind: Kind
    endpoint: str
    private: bool
    exists: bool
    files: tuple[tuple[str, int], ...]

    @property
    def bytes(self) -> int:
        return sum(bytes for _, bytes in self.files)

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        visibility = "private" if self.private else "public: everyone can see it"
        state = "exists" if self.exists else "will be made"
        table = Table("largest files", "", box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.columns[1].justify = "right"
        largest = sorted(self.files, key=lambda file: -file[1])[:SHOWN]
        for name, bytes in largest:
            table.add_row(clean(name) or "", size(bytes))
        if len(self.files) > len(largest):
            rest = self.bytes - sum(bytes for _, bytes in largest)
            table.add_row(counted(len(self.files) - len(largest), "other files"), size(rest))
        return Group(
            Text(f"to send: {counted(len(self.files), 'files')}, {size(self.bytes)}, from {self.folder}"),
            Text(f"to: {self.kind} {self.repo} at {self.endpoint}, which {state}; {visibility}"),
            Text(""),
            table,
        )


def push(
    folder: str | Path,
    repo: str,
    *,
    kind: Kind = "model",
    private: bool = False,
    agreed: Callable[[Plan], bool] | None = None,
) -> str | None:
    """Send all files of `folder` to the repository `repo` (`owner/name`) of the hub, and return the address of the
    last commit; None if `agreed`, which gets the plan, says no. By default the plan is shown on stderr and a person is
    asked. The token is that of `hf auth login`, or HF_TOKEN.

    Files in `credits/` that are no longer in the folder are deleted there; others stay.
    Raises ModelError, also if the hub refuses; MissingExtraError.
    """
    try:
        from httpx import HTTPError
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingExtraError(
            "the package huggingface_hub is missing; pip install 'commoncanvas[huggingface]'"
        ) from error
    place = Path(folder)
    api = HfApi()
    if not api.token and not _stored_token():
        raise ModelError("there is no token for the hub; run hf auth login, or set HF_TOKEN")
    try:
        plan = _plan(api, place, repo, kind, private)
        if not (agreed or ask)(plan):
            return None
        if not plan.exists:
            api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        sent = api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=place,
            commit_message=f"Release of {place.resolve().name}",
            ignore_patterns=f"{STATE}/*",
            delete_patterns="credits/*" if plan.exists else None,
        )
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{repo} can't be sent: {_reason(error)}; run it again to go on") from None
    return str(sent.commit_url)


def ask(plan: Plan) -> bool:
    """Show the plan on stderr, and ask a person on the terminal. Raises CommonCanvasError if there is none."""
    console().print(plan.render())
    if not sys.stdin.isatty():
        raise CommonCanvasError("nothing was sent: nobody can be asked here; add --yes to send it")
    say("Send it? [y/N]")
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


def show(plan: Plan) -> bool:
    """Show the plan on stderr, and agree."""
    console().print(plan.render())
    return True


def _plan(api: Any, folder: Path, repo: str, kind: Kind, private: bool) -> Plan:
    """Raises ModelError if the repository is public, but should be private."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = api.repo_info(repo, repo_type=kind)
    except RepositoryNotFoundError:
        found = None
    if found is not None and private and not found.private:
        raise ModelError(
            f"{repo} is public already, not private; change it on the hub, or choose another name"
        )
    hidden = private if found is None else bool(found.private)
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != STATE
    ]
    sizes = tuple((path.relative_to(folder).as_posix(), path.stat().st_size) for path in files)
    return Plan(str(folder), repo, kind, api.endpoint, hidden, found is not None, sizes)


def _stored_token() -> str | None:
    from huggingface_hub import get_token

    token: str | None = get_token()
    return token


def _reason(error: Exception) -> str:
    """One line without the token."""
    status = getattr(getattr(error, "response", None), "status_code", 0)
    advice = {
        401: "the hub doesn't know the token; run hf auth login again",
        403: "the token may not write there; make one that may at https://huggingface.co/settings/tokens",
    }
    text = one_line(advice.get(status) or error)
    token = _stored_token()
    return text.replace(token, "(token)") if token else text
