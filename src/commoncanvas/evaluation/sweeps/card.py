"""The figures of a sweep in the form that model cards on the hub read, a file for each model.

The form: `model-index`, https://huggingface.co/docs/hub/model-cards#evaluation-results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.core.files import replace_text
from commoncanvas.evaluation.sweeps.result import Point, Sweep, title


def write_cards(found: Sweep, out: Path) -> None:
    """Write `MODEL.model-index.yaml` for each model into `out`; its text can be put into the head of a model card."""
    for model in found.models:
        results = [each for point in found.points if point.model == model for each in _results(found, point)]
        text = yaml.safe_dump(
            {"model-index": [{"name": model, "results": results}]}, sort_keys=False, allow_unicode=True
        )
        replace_text(out / f"{model}.model-index.yaml", text)


def _results(found: Sweep, point: Point) -> Iterator[dict[str, Any]]:
    """A result for each way to measure: figures with equal fingerprints are together."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, figure in point.figures.items():
        groups[figure.fingerprint.digest].append(name)
    for names in groups.values():
        mark = point.figures[names[0]].fingerprint.to_dict()
        yield {
            "task": {"type": "text-to-image"},
            "dataset": {"type": found.source, "name": found.source, "args": mark},
            "metrics": [
                {"type": name, "name": title(name), "value": float(f"{point.figures[name].value:.6g}")}
                for name in names
            ],
        }
