from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.captioning.captioner import STATUSES
from commoncanvas.captioning.quality.rules import (
    RULES,
    boilerplate,
    leftovers,
    opening,
    parse_rules,
    repeats,
    words,
)
from commoncanvas.captioning.quality.rules import STATUSES as DROPPED
from commoncanvas.core.errors import CatalogError

PHRASES = st.lists(st.sampled_from(["a", "dog", "red", "on", "grass", "tree"]), min_size=1, max_size=4)


@given(st.text())
def test_every_rule_has_an_answer_to_any_text(text: str) -> None:
    for rule in parse_rules(["empty", "repeats", "boilerplate", "leftovers", "min-words=2", "max-words=3"]):
        assert rule.bad(text) in (True, False)


@given(PHRASES, PHRASES, PHRASES)
def test_a_phrase_three_times_in_a_row_is_found_wherever_it_is(
    before: list[str], phrase: list[str], after: list[str]
) -> None:
    assert repeats(" ".join([*before, *phrase * 3, *after]))


@given(st.lists(st.integers(0, 999), unique=True, max_size=40))
def test_different_words_are_no_repeats(numbers: list[int]) -> None:
    assert not repeats(" ".join(f"w{number}" for number in numbers))


@pytest.mark.parametrize(
    "text", ["a dog and a dog and a cat", "the man in the hat on the left", "very very nice", "bora bora", ""]
)
def test_what_people_say_twice_is_no_repeat(text: str) -> None:
    assert not repeats(text)


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a dog",
        "A picture of two cats.",
        "this is an image showing the old town",
        "Close-up of a flower",
        "a black and white photograph of a man",
        "The image depicts a harbour",
        "photo",
    ],
)
def test_openings_that_say_that_it_is_a_picture_are_found(text: str) -> None:
    assert boilerplate(text)


@pytest.mark.parametrize(
    "text", ["a dog", "a photographer at work", "photo booth at a fair", "picture frames on a wall"]
)
def test_pictures_that_are_in_the_picture_are_none(text: str) -> None:
    assert not boilerplate(text)


def test_leftovers_and_words() -> None:
    assert all(map(leftovers, ["<p>a dog</p>", "see https://x.org", "a ``` b", "bad \ufffd", "<|im_end|> a"]))
    assert not any(map(leftovers, ["2 < 3", "a dog - brown", "caption [sic]?"[:8]]))
    assert words("A dog's T-shirt, twelve o’clock!") == ["a", "dog's", "t-shirt", "twelve", "o’clock"]


@pytest.mark.parametrize("text", ["nonsense", "min-words", "min-words=x", "empty=3", "", "min-words=-1"])
def test_a_rule_that_is_none_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(CatalogError, match="rule"):
        parse_rules([text])


def test_statuses_of_captioners_and_of_rules_do_not_meet() -> None:
    assert not set(STATUSES) & set(DROPPED) and len(DROPPED) == len(RULES) + 1


def test_a_rule_given_twice_is_refused() -> None:
    with pytest.raises(CatalogError, match="min-words was given twice"):
        parse_rules(["min-words=2", "empty", "min-words=3"])


@given(st.sampled_from(["a photo of", "this is a picture showing", "close-up of"]), PHRASES)
def test_the_opening_that_is_shown_is_how_the_caption_starts(start: str, rest: list[str]) -> None:
    assert opening(f"{start} {' '.join(rest)}") == start
