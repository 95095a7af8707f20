"""Which prompts of a training are most at risk that the model gives back their images: those that it saw most often,
and those whose text moves its first predictions most.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.stats import rankdata

from commoncanvas.evaluation.prompts import Prompt, choose_prompts, fold
from commoncanvas.memorisation.learned import Learned, Row

POOL = 4
"""For each prompt that is drawn as one at risk, so many are looked at."""


@dataclass(frozen=True)
class Risk:
    """A prompt and why it may be at risk. `captions`: training images with the same words. `pictures`: training images
    with the perceptual hash of its own. `gap`: see `prediction_gaps`.
    """

    prompt: Prompt
    captions: int
    pictures: int
    gap: float

    @property
    def row(self) -> Row:
        return Row(self.prompt.catalog, self.prompt.row_id)


def risks(
    learned: Learned,
    count: int,
    seed: int,
    gaps: Callable[[Sequence[Prompt]], NDArray[np.float64]],
) -> tuple[list[Risk], list[Risk]]:
    """Up to `count` training prompts that were drawn at random, and up to `count` that are most at risk, first of all
    those with the highest mean rank by captions, pictures and gap. The latter are chosen from POOL x `count`: half the
    most repeated, half random. A prompt may be in both.
    """
    rows = _still_there(learned)
    texts = [fold(text or "") for text in rows["text"].to_pylist()]
    captions = Counter(texts)
    hashes = _hashes(learned)
    pictures: Counter[int | None] = Counter(hashes.values())
    repeated = [
        captions[text] * max(1, pictures[hashes.get((name, row_id))])
        for text, name, row_id in zip(
            texts, rows["catalog"].to_pylist(), rows["row_id"].to_pylist(), strict=True
        )
    ]
    often = np.argsort([-each for each in repeated], kind="stable")[: POOL * count]
    often = often[np.array([repeated[place] > 1 for place in often], bool)]
    random = choose_prompts(rows, "train", POOL * count, seed)
    pool = {
        prompt.image_id: prompt
        for prompt in [
            *random[:count],
            *choose_prompts(rows.take(pa.array(often)), "train", POOL * count // 2, seed),
            *random[count : POOL * count // 2],
        ]
    }
    prompts = list(pool.values())
    found = [
        Risk(
            prompt,
            captions[fold(prompt.text)],
            max(1, pictures[hashes.get((prompt.catalog, prompt.row_id))]),
            float(gap),
        )
        for prompt, gap in zip(prompts, gaps(prompts), strict=True)
    ]
    drawn = {prompt.image_id for prompt in random[:count]}
    return [each for each in found if each.prompt.image_id in drawn], most_at_risk(found)[:count]


def _hashes(learned: Learned) -> dict[tuple[str, int], int]:
    """The perceptual hash of each training image that has one, by catalog and row id."""
    return {
        (name, row_id): phash
        for name, ids in learned.ids.items()
        for row_id, phash in zip(ids.tolist(), learned.hashes[name].tolist(), strict=True)
        if phash
    }


def most_at_risk(found: Sequence[Risk]) -> list[Risk]:
    """Highest mean rank first."""
    if not found:
        return []
    ranks = np.mean(
        [rankdata([getattr(each, name) for each in found]) for name in ("captions", "pictures", "gap")],
        axis=0,
    )
    order = sorted(range(len(found)), key=lambda place: (-ranks[place], found[place].prompt.image_id))
    return [found[place] for place in order]


def _still_there(learned: Learned) -> pa.Table:
    """The rows of training images that the catalogs still have."""
    parts = []
    for name, ids in learned.ids.items():
        mine = pc.and_(pc.equal(learned.rows["catalog"], name), pc.equal(learned.rows["split"], "train"))
        there = pc.is_in(learned.rows["row_id"], pa.array(ids))
        parts.append(learned.rows.filter(pc.and_(mine, there)))
    return pa.concat_tables(parts)
