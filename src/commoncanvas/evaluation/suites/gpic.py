"""GPIC (Chandrasegaran et al., arXiv 2605.30341): captions of held-out images, by the key of each image.

They come as lines of JSON with key, caption and caption_type, or as the data set's own tar files of {key}.json beside
images, one file or a folder of them. Folder form: an image a key, {key}.png.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import flat, image_name
from commoncanvas.evaluation.suites.reading import json_lines, text_of
from commoncanvas.evaluation.suites.suite import Suite

MAX_BYTES = 1 << 20
"""Most bytes of one {key}.json."""
KEY = re.compile(r"[\w-][\w.-]*")


def sources(path: Path) -> list[Path]:
    found = sorted(path.glob("*.tar")) if path.is_dir() else [path]
    if not found:
        raise EvaluationError(
            f"prompts file {path} is a folder without .tar files; give GPIC's test folder or a file"
        )
    return found


def read(path: Path) -> list[SuitePrompt]:
    prompts: list[SuitePrompt] = []
    for source in sources(path):
        rows = _archive(source) if source.suffix == ".tar" else json_lines(source)
        for place, record in rows:
            key = text_of(record, "key", place)
            if not KEY.fullmatch(key):
                raise EvaluationError(f"{place}: key {one_line(key, 60)!r} can't be the name of a file")
            kind = str(record.get("caption_type") or "unknown")
            prompts.append(SuitePrompt(key, text_of(record, "caption", place), {"caption type": kind}))
    return prompts


def _archive(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of the .json members of a tar file; images are skipped."""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(".json"):
                    continue
                place = f"{path}, {one_line(member.name, 80)}"
                if member.size > MAX_BYTES:
                    raise EvaluationError(f"{place}: more than {MAX_BYTES:,} bytes; it is no caption")
                content = archive.extractfile(member)
                record = json.loads(content.read()) if content else None
                if not isinstance(record, dict):
                    raise EvaluationError(f"{place}: not a JSON object")
                yield place, {"key": Path(member.name).name.removesuffix(".json"), **record}
    except (tarfile.TarError, OSError, ValueError) as error:
        raise EvaluationError(
            f"prompts file {path} can't be read as a tar file: {one_line(error)}"
        ) from error


SUITE = Suite("gpic", 1, read, *flat(image_name), sources)
