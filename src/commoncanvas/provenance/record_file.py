"""provenance.json of a model folder, as it is. It is apart from what the record means, which needs catalogs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import ModelError

RECORD = "provenance.json"


def read_provenance(
    folder: str | Path, requires: Sequence[str] = ("name", "task", "catalogs", "recipe")
) -> dict[str, Any]:
    """The provenance.json of a model folder. Raises ModelError, also if it lacks one of `requires`."""
    path = Path(folder) / RECORD
    if not path.is_file():
        raise ModelError(
            f"{folder} has no provenance.json; it is not a finished model folder of commoncanvas train"
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise ModelError(f"{path} is not a record of commoncanvas train; it is not a JSON object")
    missing = [name for name in requires if name not in record]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}; train the model again with this version")
    return record
