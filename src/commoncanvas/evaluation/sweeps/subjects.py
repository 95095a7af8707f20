"""The models of a sweep and their settings."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.text import plain_name
from commoncanvas.diffusion.sampling import check_settings, image_size
from commoncanvas.drawing.generate import sampler_of
from commoncanvas.drawing.model import completed, digest_of
from commoncanvas.drawing.requests import Request
from commoncanvas.evaluation.sweeps.work import (
    HELD,
    Setting,
    Subject,
    options_of,
)
from commoncanvas.options.evaluate import SweepOptions
from commoncanvas.options.generate import DrawOptions
from commoncanvas.provenance.digests import digests
from commoncanvas.provenance.record_file import read_provenance


def subjects_of(models: Sequence[str], options: SweepOptions, device: str) -> list[Subject]:
    """The models with their settings. Raises ModelError; RecipeError for a setting that a model can't draw with."""
    subjects, names = [], _names(models)
    for path in models:
        painter, own = HELD.painter(path, device)
        painter.pipeline.scheduler = own
        recorded = (Path(path) / "provenance.json").exists()
        sample = read_provenance(path, ("recipe",))["recipe"]["sample"] if recorded else {}
        default = completed(Request("", DrawOptions()), painter.pipeline, sample).options
        assert default.guidance_scale is not None and default.steps and default.scheduler
        settings = [
            Setting(float(scale), steps, sampler)
            for scale, steps, sampler in product(
                options.guidance_scales or (default.guidance_scale,),
                options.steps or (default.steps,),
                options.samplers or (default.scheduler,),
            )
        ]
        for each in settings:
            check_settings(sampler_of(own, options_of(each)), each.guidance_scale, each.steps)
        subjects.append(
            Subject(
                path,
                names[path],
                f"{plain_name(Path(path).name)}-{_weights(path, painter.pipeline)[:12]}",
                digest_of(Path(path), painter.pipeline),
                image_size(painter.pipeline),
                tuple(dict.fromkeys(settings)),
            )
        )
    keys = Counter(each.key for each in subjects)
    if twins := [each.path for each in subjects if keys[each.key] > 1]:
        raise EvaluationError(f"{' and '.join(twins[:2])} have the same weights; give one of them")
    return subjects


def _names(paths: Sequence[str]) -> dict[str, str]:
    """A short name for each model: its folder's, with the parent's where two are the same."""
    last = Counter(Path(path).name for path in paths)
    short = {
        path: plain_name(Path(path).name if last[Path(path).name] == 1 else "-".join(Path(path).parts[-2:]))
        for path in paths
    }
    again = Counter(short.values())
    return {
        path: name if again[name] == 1 else f"{name}-{number + 1}"
        for number, (path, name) in enumerate(short.items())
    }


def _weights(path: str, pipeline: Any) -> str:
    """A digest of all weights of a model; of a hub's, of its denoiser's."""
    if not Path(path).is_dir():
        return digest_of(Path(path), pipeline)
    return hashlib.sha256(json.dumps(digests(Path(path))).encode()).hexdigest()
