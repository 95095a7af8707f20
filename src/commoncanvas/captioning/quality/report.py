"""Report on the captions of a column: their words, and how well they fit their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from commoncanvas.captioning.quality.fitting import fit_human, fit_images
from commoncanvas.captioning.quality.result import CaptionReport, Scored
from commoncanvas.captioning.quality.rules import leftovers, opening, repeats, words
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.status_counts import status_counts
from commoncanvas.core.errors import CatalogError
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.filters import expression
from commoncanvas.table.sql import all_of

if TYPE_CHECKING:
    from commoncanvas.captioning.quality.clip import ClipModel

SCAN_ROWS = 65_536
SHOWN = 20
OPENING_WORDS = 3
TOP = 10


class TextSurvey:
    """Counts words in a stream of captions. Memory: the different words, and 8 bytes per caption."""

    def __init__(self) -> None:
        self.captions = 0
        self.lengths: Counter[int] = Counter()
        self.vocabulary: set[str] = set()
        self.openings: Counter[str] = Counter()
        self.boilerplate: Counter[str] = Counter()
        self.not_ascii = 0
        self.taken = dict.fromkeys(("empty", "repeats", "boilerplate", "leftovers"), 0)
        self._hashes: list[NDArray[np.uint64]] = []
        self._stretch: set[str] = set()
        self._in_stretch = 0
        self._stretches: list[int] = []

    def add(self, captions: Sequence[str]) -> None:
        hashes = np.empty(len(captions), np.uint64)
        for place, caption in enumerate(captions):
            found = words(caption)
            self.lengths[len(found)] += 1
            self.vocabulary.update(found)
            self.openings[" ".join(found[:OPENING_WORDS])] += 1
            self.taken["empty"] += not found
            self.taken["repeats"] += repeats(caption)
            if opened := opening(caption):
                self.taken["boilerplate"] += 1
                self.boilerplate[opened] += 1
            self.not_ascii += not caption.isascii()
            self.taken["leftovers"] += leftovers(caption)
            hashes[place] = text_hash(caption)
            self._measure(found)
        self.captions += len(captions)
        self._hashes.append(hashes)
        if len(self.openings) > 200_000:  # rare openings will not become frequent
            self.openings = Counter(dict(self.openings.most_common(50_000)))

    def _measure(self, found: Sequence[str]) -> None:
        self._stretch.update(found)
        self._in_stretch += len(found)
        if self._in_stretch >= 10_000:
            self._stretches.append(len(self._stretch))
            self._stretch, self._in_stretch = set(), 0

    @property
    def stretch(self) -> float | None:
        """Different words per 10,000 words; None for fewer than 10,000 words."""
        return float(np.mean(self._stretches)) if self._stretches else None

    def shared(self) -> tuple[int, int, dict[int, int]]:
        """The number of different captions, the number of repeated ones, and hash -> count of the most frequent."""
        if not self.captions:
            return 0, 0, {}
        found, counts = np.unique(np.concatenate(self._hashes), return_counts=True)
        top = np.argsort(-counts, kind="stable")[:TOP]
        return (
            len(found),
            int(counts[counts > 1].sum()),
            {int(found[place]): int(counts[place]) for place in top if counts[place] > 1},
        )


def caption_report(
    catalog: Catalog | str,
    *,
    column: str = "caption",
    where: str | None = None,
    clip: ClipModel | None = None,
    sample: int = 1000,
    seed: int = 0,
) -> CaptionReport:
    """Report on the captions in `column` of fetched images that meet `where` (SQL, or a saved filter's name).

    Words are counted in all captions. `clip` compares `sample` captions, chosen at random with `seed`, with their
    images; all-MiniLM-L6-v2, if installed, compares them with human text. Raises CatalogError.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    check_text(catalog, column)
    if seed < 0:
        raise CatalogError(f"seed {seed} is negative; give 0 or more")
    if sample < 2:
        raise CatalogError(f"sample {sample}: give at least 2, so that a caption can be compared with others")
    condition = all_of("fetch_status = 'ok'", expression(catalog, where))
    captioned = all_of(condition, f"{column} IS NOT NULL")
    survey, ids = TextSurvey(), []
    for batch in catalog.scan([column], captioned, batch_size=SCAN_ROWS, with_row_id=True):
        survey.add(batch[column].to_pylist())
        ids.append(batch["_rowid"].to_numpy())
    row_ids = np.concatenate(ids) if ids else np.empty(0, np.uint64)
    chosen = np.sort(np.random.default_rng(seed).permutation(row_ids)[:sample])
    distinct, shared, top = survey.shared()
    by_clip, by_human = fit_images(catalog, column, chosen, clip), fit_human(catalog, column, chosen)
    ranked = by_clip or by_human
    best, worst = [], []
    if ranked:
        # Sort by cosine, because many CLIP scores may be 0.
        order = np.argsort(-ranked.cosines, kind="stable")
        shown = min(SHOWN, len(order) // 2)
        best, worst = (
            _scored(catalog, column, ranked.row_ids[places], ranked.scores[places])
            for places in (order[:shown], order[::-1][:shown])
        )
    info, done = ColumnInfo.of(catalog.schema.field(column)), f"{column}_status"
    return CaptionReport(
        uri=catalog.uri,
        version=catalog.version,
        column=column,
        where=where,
        rows=catalog.count(condition),
        captions=survey.captions,
        statuses=status_counts(catalog, done, condition, missing="not done")
        if done in catalog.schema.names
        else {},
        made_by=None
        if info is None
        else {"model": info.model, "revision": info.revision, "weights": info.sha256[:12], **info.settings},
        words_mean=_mean(survey.lengths),
        words_quantiles=_quantiles(survey.lengths),
        lengths=dict(sorted(survey.lengths.items())),
        vocabulary=len(survey.vocabulary),
        vocabulary_of_10k_words=survey.stretch,
        distinct=distinct,
        shared=shared,
        top_captions=_named(catalog, column, captioned, top),
        top_openings=dict(survey.openings.most_common(TOP)),
        top_boilerplate=dict(survey.boilerplate.most_common(TOP)),
        taken_by=survey.taken,
        not_ascii=survey.not_ascii,
        sample=len(chosen),
        seed=seed,
        clip=by_clip.fit if by_clip else None,
        clip_model=clip.name if clip else None,
        human=by_human.fit if by_human else None,
        ranked_by=("CLIP score" if by_clip else "sentence cosine with human text") if ranked else None,
        best=tuple(best),
        worst=tuple(worst),
    )


def check_text(catalog: Catalog, column: str) -> None:
    """Raise CatalogError if `column` is missing or contains no text."""
    catalog.check_columns([column])
    kind = catalog.schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise CatalogError(
            f"column {column} of {catalog.uri} contains {kind}, not text; give a column of captions"
        )


def _scored(
    catalog: Catalog, column: str, row_ids: NDArray[np.uint64], scores: NDArray[np.float64]
) -> list[Scored]:
    rows = catalog.take(row_ids, ["image_id", column]).to_pylist()
    return [
        Scored(int(row_id), row["image_id"], row[column], float(score))
        for row_id, row, score in zip(row_ids, rows, scores, strict=True)
    ]


def _named(catalog: Catalog, column: str, where: str | None, top: dict[int, int]) -> dict[str, int]:
    """The captions of the hashes `top`, with their counts. Reads the column again until all are found."""
    missing, named = dict(top), {}
    for batch in catalog.scan([column], where, batch_size=SCAN_ROWS) if top else ():
        for caption in batch[column].to_pylist():
            if (key := text_hash(caption)) in missing:
                named[caption] = missing.pop(key)
        if not missing:
            break
    return dict(sorted(named.items(), key=lambda item: -item[1]))


def text_hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _mean(lengths: Counter[int]) -> float:
    return sum(length * count for length, count in lengths.items()) / max(lengths.total(), 1)


def _quantiles(lengths: Counter[int]) -> dict[str, int]:
    if not lengths:
        return {}
    values, counts = zip(*sorted(lengths.items()), strict=True)
    ends = np.cumsum(counts)
    shares = {"least": 0.0, "5 %": 0.05, "half": 0.5, "95 %": 0.95, "most": 1.0}
    return {
        name: int(values[min(int(np.searchsorted(ends, share * ends[-1])), len(values) - 1)])
        for name, share in shares.items()
    }
