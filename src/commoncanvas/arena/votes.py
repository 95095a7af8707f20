"""One vote as statistics need it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Vote:
    """One answer of one person.

    Attributes:
        rater: id without personal data.
        pair: id of the pair.
        prompt: id of the prompt.
        category: the prompt's category; "" if it has none.
        left: model of the first image; "noise", or "real" against noise.
        right: model of the second image; "noise", or "real" against noise.
        question: "preference" or "alignment".
        answer: "left", "right", "both" or "neither".
        check: "", "noise" (an image against noise) or "repeat" (a pair shown again, sides swapped).
        right_answer: of a check, the answer that passes; else "".
        at: when it was stored, ISO 8601.
    """

    rater: str
    pair: str
    prompt: str
    category: str
    left: str
    right: str
    question: str
    answer: str
    check: str
    right_answer: str
    at: str
