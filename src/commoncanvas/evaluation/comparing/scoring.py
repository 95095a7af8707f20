"""Scores of generated images with their texts, which lie in files beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from commoncanvas.core.errors import MetricError
from commoncanvas.evaluation.comparing.result import Figure
from commoncanvas.evaluation.comparing.statistics import ImageSet
from commoncanvas.evaluation.image_files import read_image
from commoncanvas.evaluation.scorers.intervals import estimate
from commoncanvas.evaluation.scorers.scorer import SCORERS, Scorer, scores_of
from commoncanvas.evaluation.suite_prompt import SuitePrompt

TEXT = ".txt"
AT_ONCE = 64
"""Images in memory."""


def prompts_of(files: Sequence[Path]) -> list[SuitePrompt]:
    """The text of each image, from the .txt file of its name beside it. Raises MetricError if one is missing."""
    texts = [path.with_suffix(TEXT) for path in files]
    missing = next((path for path in texts if not path.is_file()), None)
    if missing:
        raise MetricError(
            f"{missing} is missing: scorers need the text of each image, in a {TEXT} file of its name beside it"
        )
    return [SuitePrompt(path.stem, " ".join(path.read_text(encoding="utf-8").split())) for path in texts]


def score(
    scorer: Scorer, found: ImageSet, prompts: Sequence[SuitePrompt], advance: Callable[[int], None]
) -> Figure:
    """The mean score, and its interval: images with one text count as one observation."""
    info = scorer.info
    scores = np.concatenate([*_scores(scorer, found.files, prompts, advance)])
    share = next(iter(scorer.figures.values())).share
    mean = estimate(scores.tolist(), [each.text for each in prompts], share)
    return Figure(info.name, SCORERS[info.kind].titled(info.name), mean.mean, mean.low, mean.high, "higher")


def _scores(
    scorer: Scorer, files: Sequence[Path], prompts: Sequence[SuitePrompt], advance: Callable[[int], None]
) -> Iterator[np.ndarray]:
    for start in range(0, len(files), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        yield scores_of(scorer, prompts[some], [read_image(path) for path in files[some]])
        advance(len(files[some]))
