"""Where a model's files are: in a folder, in the hub's cache, or on the hub, which is asked once whether it answers."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from pathlib import Path
from shlex import quote

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
TIMEOUT_S = 5.0
REMEMBERED_S = 60.0
"""How long the hub's silence is remembered, so that a model's many files don't wait for it one by one."""


def looks_like_a_path(model: str) -> bool:
    """Whether `model` can only be a folder: it is there, is no `owner/name`, or lies in a folder that is here."""
    if Path(model).exists() or not HUB_ID.fullmatch(model):
        return True
    return "/" in model and Path(model).parent.is_dir()


def unreachable() -> str | None:
    """Why the hub can't be asked; None if it answers. Nothing is tried again."""
    return _unreachable(time.monotonic() // REMEMBERED_S)


@lru_cache(maxsize=1)
def _unreachable(moment: float) -> str | None:
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE forbids to ask the hub"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except Exception as error:  # of whichever HTTP library the hub's client uses
        return f"{constants.ENDPOINT} can't be reached ({one_line(error) or type(error).__name__})"
    return None


def locate(model: str, what: str = "model") -> None:
    """Raise ModelError, which names `what`, unless `model` is a folder, is in the hub's cache, or the hub answers."""
    if Path(model).exists():
        return
    recipe = f"{model}.yaml"
    if Path(recipe).is_file():
        raise ModelError(
            f"{what} {model} is not trained yet; train it first: commoncanvas train {quote(recipe)}"
        )
    if looks_like_a_path(model):
        raise ModelError(f"{what} {model} is no folder here; train or download it, or name its folder")
    reason = unreachable()
    if reason and not _cached(model):
        raise ModelError(
            f"{what} {model} is no folder here and not in the hub's cache, and {reason}; train or download it, and "
            "name its folder"
        )


def find(
    model: str, name: str, subfolder: str = "", revision: str | None = None, what: str = "model"
) -> Path | None:
    """The file `name` of a folder or hub id; None if it has none. Raises ModelError if the hub can't be asked."""
    locate(model, what)
    if Path(model).exists():
        path = Path(model, subfolder, name)
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    local = unreachable() is not None
    try:
        return Path(
            hf_hub_download(
                model,
                name,
                subfolder=subfolder or None,
                revision=revision,
                local_files_only=local,
            )
        )
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError) and not local:  # the connection broke
            raise ModelError(f"{what} {model} can't be read: {one_line(error)}") from error
        return None
    except GatedRepoError as error:
        raise ModelError(
            f"{what} {model} wants its terms accepted: do so at https://huggingface.co/{model}, then run hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{what} {model} is no folder here, and the hub has no model of that name for you to see; train or "
            "download it, and name its folder"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {model} can't be read: {one_line(error)}") from error


def _cached(model: str) -> bool:
    """Whether the hub's cache has something of a hub id."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "snapshots")
    return snapshots.is_dir() and any(snapshots.iterdir())
