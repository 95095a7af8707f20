"""How well a sample of captions fits its images and human text, each with the figure for shuffled captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import MissingExtraError
from commoncanvas.images.image import readable
from commoncanvas.models.similarity import clip_score
from commoncanvas.table.texts import first_text

if TYPE_CHECKING:
    from commoncanvas.captioning.quality.clip import ClipModel

HUMAN = ("label", "title", "description")
"""Columns of human text to compare captions with. The first that is set is used."""
TAKEN = 256
"""Images in memory at a time."""
BLOCK = 1024
"""Rows of the matrix of all pairs in memory at a time."""
ALIKE = 1e-6
"""Cosines with a smaller difference count as equal (the same words)."""


@dataclass(frozen=True)
class Fit:
    """How well captions fit their images or texts, for `rows` random rows.

    `matched`: mean score of a caption with its own image or text. `shuffled`: mean score with all others. `retrieval`:
    fraction of images or texts whose own caption is the nearest; by chance 1 / rows.
    """

    rows: int
    matched: float
    shuffled: float
    retrieval: float
    chance: float


class Fitted(NamedTuple):
    """The fit of a sample, and of its N rows that could be compared."""

    fit: Fit
    cosines: NDArray[np.float64]
    scores: NDArray[np.float64]
    """The scores to show: the cosines, or CLIP scores."""
    row_ids: NDArray[np.uint64]


def fit(
    first_ND: NDArray[np.float32], second_ND: NDArray[np.float32], *, factor: float = 1.0, least: float = -1.0
) -> tuple[Fit, NDArray[np.float64]]:
    """Unit vectors of N >= 2 images or texts and of their captions -> their fit, and the cosine of each pair [N].

    A score is `factor * max(cosine, least)`.
    """
    first_ND, second_ND = first_ND.astype(np.float64), second_ND.astype(np.float64)
    matched_N = np.einsum("nd,nd->n", first_ND, second_ND)
    matched = factor * float(np.maximum(matched_N, least).sum())
    count, total, nearest = len(matched_N), 0.0, 0.0
    for start in range(0, count, BLOCK):
        cosines_BN = first_ND[start : start + BLOCK] @ second_ND.T
        own_B = matched_N[start : start + BLOCK, None]
        total += factor * float(np.maximum(cosines_BN, least).sum())
        # Count 1 if its own caption is the nearest, shared equally with captions that are as near (the same words).
        beaten_B = (cosines_BN > own_B + ALIKE).any(1)
        nearest += float(np.where(beaten_B, 0.0, 1 / (cosines_BN >= own_B - ALIKE).sum(1)).sum())
    shuffled = (total - matched) / (count * (count - 1))
    return Fit(count, matched / count, shuffled, nearest / count, 1 / count), matched_N


def fit_images(
    catalog: Catalog, column: str, row_ids: NDArray[np.uint64], clip: ClipModel | None
) -> Fitted | None:
    """CLIP scores, see `clip_score`. Unreadable images are left out. None if fewer than two are left, or without a
    model.
    """
    if clip is None:
        return None
    images, texts, kept = [], [], []
    for start in range(0, len(row_ids), TAKEN):
        chosen = row_ids[start : start + TAKEN]
        table = catalog.take(chosen, ["image", column])
        pixels = [readable(data) for data in table["image"].to_pylist()]
        good = [place for place, one in enumerate(pixels) if one is not None]
        if good:
            captions = table[column].to_pylist()
            images.append(clip.images([one for one in pixels if one is not None]))
            texts.append(clip.texts([captions[place] for place in good]))
            kept.append(chosen[good])
    if sum(map(len, kept)) < 2:
        return None
    found, cosines = fit(np.concatenate(images), np.concatenate(texts), factor=100, least=0)
    return Fitted(found, cosines, clip_score(cosines), np.concatenate(kept))


def fit_human(catalog: Catalog, column: str, row_ids: NDArray[np.uint64]) -> Fitted | None:
    """Sentence cosines with a row's first text of HUMAN. None if fewer than two rows have one, or without MiniLM."""
    from commoncanvas.models.sentences import embed

    names = [name for name in HUMAN if name in catalog.schema.names and name != column]
    if not names or not len(row_ids):
        return None
    table = catalog.take(row_ids, [column, *names])
    human = [first_text(row, names) for row in table.select(names).to_pylist()]
    places = [place for place, text in enumerate(human) if text]
    if len(places) < 2:
        return None
    captions = table[column].to_pylist()
    try:
        found, cosines = fit(
            embed([human[place] or "" for place in places]), embed([captions[p] for p in places])
        )
    except MissingExtraError:
        return None
    return Fitted(found, cosines, cosines, row_ids[places])
