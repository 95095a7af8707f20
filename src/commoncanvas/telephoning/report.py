"""What the captions of a column are like: their words, and how well they fit their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.columns import ColumnInfo
from commoncanvas.catalog.filters import expression
from commoncanvas.catalog.where import all_of
from commoncanvas.errors import CatalogError, MissingExtraError
from commoncanvas.images.image import decode
from commoncanvas.telephoning.rules import RULES, boilerplate, leftovers, repeats, words

if TYPE_CHECKING:
    from rich.console import RenderableType

    from commoncanvas.telephoning.clip import ClipModel

SCAN_ROWS = 65_536
HUMAN = ("label", "title")
"""Columns of human text that captions are compared with, the first that is set."""
SHOWN = 20
OPENING_WORDS = 3
TOP = 10


@dataclass(frozen=True)
class Fit:
    """How well captions fit what they are compared with, over `rows` drawn at random.

    `matched`: the mean score of a caption with its own; `shuffled`: with all the others'. `retrieval`: the share of
    images or texts whose own caption is the nearest of all, by chance 1 / rows.
    """

    rows: int
    matched: float
    shuffled: float
    retrieval: float
    chance: float


@dataclass(frozen=True)
class CaptionReport:
    """Counts are of rows that the filter lets in; words are runs of letters and digits, small."""

    uri: str
    version: int
    column: str
    filter: str | None
    rows: int
    """Of fetched images."""
    captions: int
    statuses: dict[str, int]
    made_by: dict[str, Any] | None
    """Model, revision and settings of the column; None if no model wrote it."""
    words_mean: float
    words_quantiles: dict[str, int]
    """Words a caption: least, 5 %, half, 95 %, most."""
    lengths: dict[int, int]
    vocabulary: int
    """Different words in all captions."""
    vocabulary_of_10k_words: float | None
    """Different words among 10,000, the mean over stretches of so many; None if there are fewer."""
    distinct: int
    """Different captions."""
    shared: int
    """Captions that another image has too."""
    top_captions: dict[str, int]
    top_openings: dict[str, int]
    taken_by: dict[str, int]
    """Captions that a rule without a number would take."""
    clip: Fit | None
    human: Fit | None
    """Sentence cosine with human text."""
    ranked_by: str | None
    best: tuple[tuple[int, float], ...]
    """Row ids and scores."""
    worst: tuple[tuple[int, float], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from commoncanvas.telephoning.report_table import render

        return render(self)


class TextSurvey:
    """Counts words as captions stream by; memory grows with different words, and by 8 bytes a caption."""

    def __init__(self) -> None:
        self.captions = 0
        self.lengths: Counter[int] = Counter()
        self.vocabulary: set[str] = set()
        self.openings: Counter[str] = Counter()
        self.taken = dict.fromkeys(("empty", "repeats", "boilerplate", "leftovers"), 0)
        self._hashes: list[NDArray[np.uint64]] = []
        self._stretch: set[str] = set()
        self._in_stretch = 0
        self._stretches: list[int] = []

    def add(self, captions: Sequence[str]) -> None:
        hashes = np.empty(len(captions), np.uint64)
        for place, caption in enumerate(captions):
            said = words(caption)
            self.lengths[len(said)] += 1
            self.vocabulary.update(said)
            self.openings[" ".join(said[:OPENING_WORDS])] += 1
            self.taken["empty"] += not said
            self.taken["repeats"] += repeats(caption)
            self.taken["boilerplate"] += boilerplate(caption)
            self.taken["leftovers"] += leftovers(caption)
            hashes[place] = text_hash(caption)
            self._measure(said)
        self.captions += len(captions)
        self._hashes.append(hashes)
        if len(self.openings) > 200_000:  # what is rare so far won't be among the first
            self.openings = Counter(dict(self.openings.most_common(50_000)))

    def _measure(self, said: Sequence[str]) -> None:
        self._stretch.update(said)
        self._in_stretch += len(said)
        if self._in_stretch >= 10_000:
            self._stretches.append(len(self._stretch))
            self._stretch, self._in_stretch = set(), 0

    @property
    def stretch(self) -> float | None:
        """Different words in 10,000; None if there are fewer."""
        return float(np.mean(self._stretches)) if self._stretches else None

    def shared(self) -> tuple[int, int, dict[int, int]]:
        """Different captions, captions that are not alone, and the hashes of the most frequent with their counts."""
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
    filter: str | None = None,
    clip: ClipModel | None = None,
    sample: int = 1000,
    seed: int = 0,
) -> CaptionReport:
    """Look at the captions in `column` of fetched images that `filter` (SQL, or a saved filter's name) lets in.

    All are read for what their words are like. `sample` of them, drawn by `seed`, are compared with their images by
    `clip`, and with human text by all-MiniLM-L6-v2, if it is there. Raises CatalogError.
    """
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    catalog.check_columns([column])
    if sample < 2:
        raise CatalogError(
            f"sample {sample}: give at least 2 captions, so that there are others to compare with"
        )
    condition = all_of("fetch_status = 'ok'", expression(catalog, filter))
    there = all_of(condition, f"{column} IS NOT NULL")
    survey, ids = TextSurvey(), []
    for batch in catalog.scan([column], there, batch_size=SCAN_ROWS, with_row_id=True):
        survey.add(batch[column].to_pylist())
        ids.append(batch["_rowid"].to_numpy())
    row_ids = np.concatenate(ids) if ids else np.empty(0, np.uint64)
    chosen = np.sort(np.random.default_rng(seed).permutation(row_ids)[:sample])
    distinct, shared, top = survey.shared()
    clip_fit, clip_scores, clip_rows = _clip_fit(catalog, column, chosen, clip)
    human_fit, human_scores, human_rows = _human_fit(catalog, column, chosen)
    by, scores, scored = (
        ("CLIP score", clip_scores, clip_rows)
        if clip_fit
        else ("sentence cosine with human text", human_scores, human_rows)
        if human_fit
        else (None, np.empty(0), np.empty(0, np.uint64))
    )
    order = np.argsort(-scores, kind="stable")
    shown = min(SHOWN, len(order) // 2)
    pairs = [(int(scored[place]), float(scores[place])) for place in order]
    info = ColumnInfo.of(catalog.schema.field(column))
    return CaptionReport(
        uri=catalog.uri,
        version=catalog.version,
        column=column,
        filter=filter,
        rows=catalog.count(condition),
        captions=survey.captions,
        statuses=_statuses(catalog, column, condition),
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
        top_captions=_named(catalog, column, there, top),
        top_openings=dict(survey.openings.most_common(TOP)),
        taken_by=survey.taken,
        clip=clip_fit,
        human=human_fit,
        ranked_by=by,
        best=tuple(pairs[:shown]),
        worst=tuple(pairs[::-1][:shown]),
    )


def fit(first_ND: NDArray[np.float32], second_ND: NDArray[np.float32]) -> tuple[Fit, NDArray[np.float64]]:
    """Unit vectors of N things and of their captions -> how well they fit, in cosines, and each pair's [N]."""
    cosines_NN = first_ND.astype(np.float64) @ second_ND.astype(np.float64).T
    matched_N = np.diag(cosines_NN).copy()
    count = len(matched_N)
    shuffled = (cosines_NN.sum() - matched_N.sum()) / (count * (count - 1))
    # Its own is the nearest; those that are as near (the same words) share the place.
    ties_N = (cosines_NN >= matched_N[:, None] - 1e-6).sum(1)
    nearest_N = np.where((cosines_NN > matched_N[:, None] + 1e-6).any(1), 0.0, 1 / ties_N)
    return Fit(count, float(matched_N.mean()), float(shuffled), float(nearest_N.mean()), 1 / count), matched_N


def _clip_fit(
    catalog: Catalog, column: str, row_ids: NDArray[np.uint64], clip: ClipModel | None
) -> tuple[Fit | None, NDArray[np.float64], NDArray[np.uint64]]:
    """CLIP scores are 100 times the cosine where it is above 0 (as CLIPScore, arXiv 2104.08718, but for its factor)."""
    if clip is None or len(row_ids) < 2:
        return None, np.empty(0), row_ids[:0]
    images, texts = [], []
    for start in range(0, len(row_ids), 256):
        table = catalog.take(row_ids[start : start + 256], ["image", column])
        images.append(clip.images([decode(data) for data in table["image"].to_pylist()]))
        texts.append(clip.texts(table[column].to_pylist()))
    found, cosines = fit(np.concatenate(images), np.concatenate(texts))
    scores = 100 * cosines.clip(0)
    return (
        Fit(found.rows, float(scores.mean()), 100 * max(found.shuffled, 0.0), found.retrieval, found.chance),
        scores,
        row_ids,
    )


def _human_fit(
    catalog: Catalog, column: str, row_ids: NDArray[np.uint64]
) -> tuple[Fit | None, NDArray[np.float64], NDArray[np.uint64]]:
    from commoncanvas.telephoning.sentences import embed

    names = [name for name in HUMAN if name in catalog.schema.names and name != column]
    table = catalog.take(row_ids, [column, *names]) if len(row_ids) and names else None
    if table is None:
        return None, np.empty(0), row_ids[:0]
    human = [
        next((text for text in row if text), None)
        for row in zip(*(table[name].to_pylist() for name in names), strict=True)
    ]
    places = [place for place, text in enumerate(human) if text]
    if len(places) < 2:
        return None, np.empty(0), row_ids[:0]
    captions = table[column].to_pylist()
    try:
        found, cosines = fit(
            embed([human[place] or "" for place in places]), embed([captions[p] for p in places])
        )
    except MissingExtraError:
        return None, np.empty(0), row_ids[:0]
    return found, cosines, row_ids[places]


def _statuses(catalog: Catalog, column: str, condition: str | None) -> dict[str, int]:
    name = f"{column}_status"
    if name not in catalog.schema.names:
        return {}
    counts: Counter[str] = Counter()
    for batch in catalog.scan([name], condition, batch_size=SCAN_ROWS):
        counts.update(status or "not done" for status in batch[name].to_pylist())
    return dict(counts.most_common())


def _named(catalog: Catalog, column: str, there: str | None, top: dict[int, int]) -> dict[str, int]:
    """The captions that the hashes `top` are of, read once more until all are found."""
    missing, named = dict(top), {}
    for batch in catalog.scan([column], there, batch_size=SCAN_ROWS) if top else ():
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


def rule_text(name: str) -> str:
    return RULES[name][1]
