"""The option `--retry`: rows of which status a stage tries again."""

from __future__ import annotations

from collections.abc import Sequence

from commoncanvas.core.errors import CatalogError


def statuses_to_retry(
    names: Sequence[str], stage: str, known: Sequence[str], done: Sequence[str]
) -> tuple[str, ...]:
    """The statuses `names` of a `stage`; the name `failed` stands for all `known` statuses except `done`.

    Raises CatalogError for a status that is not known.
    """
    failed = [status for status in known if status not in done]
    chosen = dict.fromkeys(status for name in names for status in (failed if name == "failed" else [name]))
    for status in chosen:
        if status not in known:
            raise CatalogError(
                f"there is no {stage} status {status}; there are: {', '.join(known)}, "
                f"or failed (all but {', '.join(done)})"
            )
    return tuple(chosen)
