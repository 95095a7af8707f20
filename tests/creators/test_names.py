"""One normal form for names: all spellings of one are equal; what is near is near, and no more than that."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commoncanvas.creators.names import near_marks, normal_name
from tests.creators.spellings import names

PEOPLE = (
    "José Muñoz",
    "Séan O'Neil",
    "Zoë-Anne Müller",
    "Ángela d'Été",
    "山田 太郎",
    "Ирина Ёлкина",
    "Straße Foto",
)


@settings(max_examples=400, derandomize=True)
@given(st.sampled_from(PEOPLE).flatmap(lambda name: st.tuples(st.just(name), names(name))))
def test_every_spelling_of_a_name_is_that_name(pair: tuple[str, str]) -> None:
    name, spelled = pair
    assert normal_name(spelled) == normal_name(name)
    assert near_marks(spelled) == near_marks(name)


@given(st.text(max_size=20))
def test_a_normal_form_is_its_own(name: str) -> None:
    assert normal_name(normal_name(name)) == normal_name(name)


def near(one: str, other: str) -> bool:
    return not near_marks(one).isdisjoint(near_marks(other))


@pytest.mark.parametrize(
    "other",
    [
        "Jose Munoz",  # accents
        "José Muños",  # another letter
        "José Muñozz",
        "José Muñz",
        "José Muñzo",  # two swapped
        "JoséMuñoz",
        "Muñoz, José",
        "José-Muñoz",
    ],
)
def test_slips_are_near_and_not_equal(other: str) -> None:
    assert near("José Muñoz", other)
    assert normal_name("José Muñoz") != normal_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Jane Doe", "John Doe"),
        ("user12345", "user12346"),
        ("Person 2", "Person 3"),
        ("Ann", "Ana"),
        ("Jane Doe", "Jane Roes"),
        ("***", "###"),
        ("山田", "山口"),
    ],
)
def test_other_people_are_not_near(one: str, other: str) -> None:
    assert not near(one, other)


@settings(max_examples=300)
@given(st.text("abcdé xyz", min_size=6, max_size=14), st.data())
def test_one_letter_more_less_or_other_is_near_wherever_it_is(name: str, data: st.DataObject) -> None:
    letters = [place for place, mark in enumerate(name) if mark.isalpha()]
    if len(letters) < 6:
        return
    place = data.draw(st.sampled_from(letters))
    mark = data.draw(st.sampled_from(["", "q", name[place] + "q"]))
    assert near(name, name[:place] + mark + name[place + 1 :])


def test_a_very_long_name_costs_little() -> None:
    assert len(near_marks("ab" * 50_000)) <= 2
