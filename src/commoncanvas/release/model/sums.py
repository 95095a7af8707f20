"""SHA256SUMS: the digest of every file, as `sha256sum --check` reads it."""

from __future__ import annotations

from pathlib import Path

from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import replace_text
from commoncanvas.provenance.folder import file_sha256
from commoncanvas.release.check import SUMS


def write_sums(folder: Path, without: str) -> None:
    """Write SHA256SUMS of all files but itself and those in the folder `without`. Raises ModelError."""
    lines = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file() or name == SUMS or name.startswith(f"{without}/"):
            continue
        if "\n" in name or "\\" in name:
            raise ModelError(f"{path}: {SUMS} can't hold this name; rename the file in the model")
        lines.append(f"{file_sha256(path)}  {name}\n")
    replace_text(folder / SUMS, "".join(lines))
