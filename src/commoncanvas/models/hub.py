"""Find a model's files: in a folder, in the hub's cache, or on the hub."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from pathlib import Path
from shlex import quote

from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
HUB = "https://huggingface.co"
TIMEOUT_S = 5.0
REMEMBERED_S = 60.0
"""How long an unreachable hub is remembered, so that a model's many files don't wait one by one."""


def owned(name: str) -> bool:
    """Whether `name` has the form of a hub id with its owner, `owner/name`."""
    return "/" in name and HUB_ID.fullmatch(name) is not None


def looks_like_a_path(model: str) -> bool:
    """Whether `model` can only be a folder: it exists, is not `owner/name`, or its parent folder exists."""
    if Path(model).exists() or not HUB_ID.fullmatch(model):
        return True
    return "/" in model and Path(model).parent.is_dir()


def unreachable() -> str | None:
    """Why the hub can't be used; None if it answers. Does not retry."""
    return _unreachable(time.monotonic() // REMEMBERED_S)


@lru_cache(maxsize=1)
def _unreachable(moment: float) -> str | None:
    from huggingface_hub import constants, get_session

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except Exception as error:  # the type depends on the HTTP library of the hub's client
        return f"{constants.ENDPOINT} can't be reached ({one_line(error) or type(error).__name__})"
    return None


def locate(model: str, what: str = "model") -> None:
    """Raise ModelError, which names `what`, unless `model` is a folder or in the hub's cache, or the hub answers."""
    if Path(model).exists():
        return
    recipe = f"{model}.yaml"
    if Path(recipe).is_file():
        raise ModelError(
            f"{what} {model} is not trained yet; train it first: commoncanvas train {quote(recipe)}"
        )
    if looks_like_a_path(model):
        raise ModelError(
            f"{what} {model}: there is no such folder; train or download it, or give another folder"
        )
    reason = unreachable()
    if reason and not in_cache(model):
        raise ModelError(
            f"{what} {model}: there is no such folder, it is not in the hub's cache, and {reason}; train or download "
            "it, and give its folder"
        )


def find(
    model: str, name: str, subfolder: str = "", revision: str | None = None, what: str = "model"
) -> Path | None:
    """The file `name` of a folder or hub id; None if it has none. Raises ModelError if the hub can't be used."""
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
        if isinstance(error, LocalEntryNotFoundError) and not local:  # the connection was lost
            raise ModelError(f"{what} {model} can't be read: {one_line(error)}") from error
        return None
    except GatedRepoError as error:
        raise ModelError(
            f"{what} {model}: you must accept its terms at https://huggingface.co/{model}, then run hf auth login"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{what} {model}: there is no such folder, and the hub has no such model that you can access; train or "
            "download it, and give its folder"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} {model} can't be read: {one_line(error)}") from error


def in_cache(model: str) -> bool:
    """Whether the hub's cache has any file of a hub id."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=model, repo_type="model"), "snapshots")
    return snapshots.is_dir() and any(snapshots.iterdir())
