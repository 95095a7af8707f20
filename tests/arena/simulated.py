"""The simulations of benchmarks/arena_statistics.py, and their votes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np

from commoncanvas.arena.votes import Vote

PATH = Path(__file__).parents[2] / "benchmarks/arena_statistics.py"
CATEGORIES = ("animals", "people", "text")


def load() -> Any:
    spec = importlib.util.spec_from_file_location("arena_statistics", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["arena_statistics"] = module
    spec.loader.exec_module(module)
    return module


simulations = load()


def simulated_votes(scene: Any, models: tuple[str, ...], seed: int = 0) -> list[Vote]:
    """The votes of one simulated arena."""
    drawn = simulations.simulate(scene, 1, np.random.default_rng(seed))
    rng = np.random.default_rng(seed)
    columns = (drawn.first, drawn.second, drawn.prompts, drawn.raters, drawn.votes)
    votes = []
    for first, second, prompt, rater, score in zip(*(column[0].tolist() for column in columns), strict=True):
        swapped = bool(rng.integers(2))
        left, right = (second, first) if swapped else (first, second)
        tie = ("both", "neither")[int(rng.integers(2))]
        answer = tie if score == 0.5 else "left" if (score == 1) != swapped else "right"
        pair = f"{prompt}-{first}-{second}"
        category = CATEGORIES[prompt % 3]
        place = (models[left], models[right], "preference", answer, "", "", "")
        votes.append(Vote(f"r{rater}", pair, str(prompt), category, *place))
    return votes
