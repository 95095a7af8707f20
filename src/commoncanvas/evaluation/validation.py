"""The figures of `evaluate` during training, and `train`, which uses them.

Shapes: N prompts, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from commoncanvas.config import DiffusionRecipe, Recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import plain_name
from commoncanvas.evaluation import metrics, sets
from commoncanvas.evaluation.prompts import choose_prompts, read_images
from commoncanvas.evaluation.scorers.scorer import check_scorer, load_scorer, scores_of
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.selection.rows import TrainingRows
from commoncanvas.training import trainer
from commoncanvas.training.validation import Arrays


def train(
    recipe: Recipe | str | Path | Mapping[str, Any],
    *,
    resume: bool = False,
    without_taken_down: bool = False,
) -> Path:
    """Train `recipe` (a Recipe, or its name, path or fields), write its model folder and return the folder's path.

    See `commoncanvas.training.trainer.train`, whose options these are. If the recipe has `validation`, held-out prompts
    are drawn and measured during the training, as `evaluate` does it.
    """
    return trainer.train(recipe, resume=resume, without_taken_down=without_taken_down, judges=HeldoutJudge)


class HeldoutJudge:
    """Measures drawn images of held-out rows against the rows' own images. Raises RecipeError, CatalogError."""

    def __init__(self, recipe: DiffusionRecipe, rows: TrainingRows, device: torch.device) -> None:
        from commoncanvas.evaluation.networks.load import load_network

        config = recipe.validation
        assert config is not None
        self._rows = choose_prompts(rows.table, "heldout", config.prompts, config.seed)
        if len(self._rows) < 2:
            raise RecipeError(
                f"{recipe.name}: validation needs two held-out rows with texts that are not trained on, there are "
                f"{len(self._rows)}; set a larger data.heldout_fraction"
            )
        self.prompts = [each.text for each in self._rows]
        self._suite_prompts = [SuitePrompt(each.image_id, each.text) for each in self._rows]
        for spec in config.scorers:
            if lacking := check_scorer(spec, self._suite_prompts):
                raise RecipeError(
                    f"{recipe.name}: scorer {spec} in validation: held-out prompts have no {lacking[0]}"
                )
        self.seeds = [each.seed for each in self._rows]
        self._catalogs = {each.name: each.catalog for each in rows.selections}
        self._size = recipe.size
        self._networks = [load_network(spec, str(device)) for spec in config.features]
        self._scorers = [load_scorer(spec, device=str(device)) for spec in config.scorers]
        self._drawing = {
            "sampler": recipe.sample.scheduler,
            "steps": recipe.sample.steps,
            "guidance_scale": recipe.sample.guidance_scale,
            "size": f"{recipe.size} x {recipe.size}",
        }
        self._real: Arrays = {}

    def measure(self, numbers: Sequence[int], images: Sequence[NDArray[np.uint8]]) -> Arrays:
        """Features [N, D] of the drawn images and of the real ones, and scores [N]."""
        if not self._real:
            self._real = self._of_real(numbers)
        found: Arrays = {f"made/{number}": network(images) for number, network in enumerate(self._networks)}
        prompts = [self._suite_prompts[number] for number in numbers]
        for number, scorer in enumerate(self._scorers):
            found[f"score/{number}"] = scores_of(scorer, prompts, images)
        return found | self._real

    def _of_real(self, numbers: Sequence[int]) -> Arrays:
        """The same rows each time, so they are read once."""
        real = read_images(self._catalogs, [self._rows[number] for number in numbers], self._size)
        found: Arrays = {f"real/{number}": network(real) for number, network in enumerate(self._networks)}
        return found | {"sha256": np.array(sets.pixels_sha256(real))}

    def figures(self, measured: Arrays) -> tuple[dict[str, float], dict[str, Mapping[str, Any]]]:
        """`validation/fd/NETWORK` and so on."""
        figures: dict[str, float] = {}
        marks: dict[str, Mapping[str, Any]] = {}
        real_sha256 = sets.digest(measured["sha256"].tolist())
        for number, network in enumerate(self._networks):
            made, real = measured[f"made/{number}"], measured[f"real/{number}"]
            mark = sets.of_distances(self._rows, real_sha256, network, **self._drawing).to_dict()
            for name, value in (
                ("fd", metrics.frechet_distance(made, real)),
                ("kd", metrics.kernel_distance(made, real)),
                ("retrieval", metrics.retrieval_accuracy(made, real)),
            ):
                figures[f"validation/{name}/{network.name}"] = value
                marks[f"validation/{name}/{network.name}"] = mark
        for number, scorer in enumerate(self._scorers):
            kind, _, model = scorer.info.name.partition(":")
            name = f"validation/{kind}/{plain_name(model)}"
            figures[name] = float(measured[f"score/{number}"].mean())
            marks[name] = sets.of_scores(self._rows, scorer.info, **self._drawing).to_dict()
        return figures, marks
