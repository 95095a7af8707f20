"""Combination: which licence a model made from many works may carry, and the sentence when there is none."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.core.errors import LicenseError
from commoncanvas.licenses import CC0, LICENSES, License, combine

ANY = st.lists(st.sampled_from(list(LICENSES.values())), max_size=5)
SUITE = st.lists(
    st.sampled_from(
        [
            license
            for license in LICENSES.values()
            if license.public_domain or (license.id.startswith("CC-BY") and license.version != "1.0")
        ]
    ),
    max_size=5,
)


def of(ids: str) -> list[License]:
    return [LICENSES[id] for id in ids.split()]


def conditions(license: License) -> set[str]:
    return {
        *(["attribution"] if license.attribution else []),
        *(["noncommercial"] if not license.commercial else []),
        *(["share alike"] if license.share_alike else []),
        *(["no derivatives"] if not license.derivatives else []),
    }


@pytest.mark.parametrize(
    ("ids", "result"),
    [
        ("", "CC0-1.0"),
        ("CC0-1.0 PDM-1.0 PD PD-USGov no-known-copyright-restrictions CC-PDDC", "CC0-1.0"),
        ("CC-BY-2.0", "CC-BY-4.0"),
        ("CC-BY", "CC-BY-4.0"),
        ("CC0-1.0 CC-BY-1.0 CC-BY-3.0-DE", "CC-BY-4.0"),
        ("CC-BY-2.0 CC-BY-NC-2.0", "CC-BY-NC-4.0"),
        ("CC-NC-1.0", "CC-BY-NC-4.0"),
        ("CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-2.0 CC-BY-4.0 CC0-1.0", "CC-BY-SA-4.0"),
        ("CC-BY-SA-2.0 CC-BY-SA-2.1-JP CC-BY-SA-3.0-IGO CC-BY-SA-4.0", "CC-BY-SA-4.0"),
        ("CC-BY-NC-SA-2.0 CC-BY-2.0 CC-BY-NC-3.0", "CC-BY-NC-SA-4.0"),
        # No later-version clause: only itself.
        ("CC-BY-SA-1.0 CC-BY-4.0", "CC-BY-SA-1.0"),
        ("CC-BY-NC-SA-1.0 CC-BY-NC-4.0", "CC-BY-NC-SA-1.0"),
        ("CC-SA-1.0 PD", "CC-SA-1.0"),
    ],
)
def test_the_result_carries_what_the_parts_demand(ids: str, result: str) -> None:
    combination = combine(of(ids))
    assert combination.result is LICENSES[result]
    assert combination.conflicts == ()
    assert combination.require() is LICENSES[result]
    assert result in combination.message


@pytest.mark.parametrize(
    ("ids", "named"),
    [
        (
            "CC-BY-SA-2.0 CC-BY-NC-SA-2.0",
            "CC-BY-NC-SA-2.0 only under CC-BY-NC-SA-4.0, CC-BY-SA-2.0 only under",
        ),
        (
            "CC-BY-SA-4.0 CC-BY-NC-2.0",
            "CC-BY-SA-4.0, which lacks the NonCommercial condition of CC-BY-NC-2.0",
        ),
        ("CC-BY-SA-1.0 CC-BY-SA-4.0", "CC-BY-SA-1.0 only under CC-BY-SA-1.0, CC-BY-SA-4.0 only under"),
        ("CC-BY-SA-1.0 CC-BY-SA-1.0-NL", "CC-BY-SA-1.0-NL only under CC-BY-SA-1.0-NL"),
        ("CC-SA-1.0 CC-BY-2.0", "CC-SA-1.0, which lacks the Attribution condition of CC-BY-2.0"),
        ("CC-BY-SA", "CC-BY-SA states no version"),
        ("CC-BY-ND-2.0 CC-BY-4.0", "CC-BY-ND-2.0 forbids sharing adaptations"),
        ("CC-BY-4.0 unknown", "unknown gives no permission"),
        ("all-rights-reserved", "all-rights-reserved gives no permission"),
        ("CC-Sampling-1.0", "CC-Sampling-1.0 gives no permission"),
    ],
)
def test_a_conflict_names_the_licences_and_what_to_do(ids: str, named: str) -> None:
    combination = combine(of(ids))
    assert combination.result is None
    assert named in combination.message
    assert any(way in combination.message for way in ("leave", "make", "find"))
    assert "\n" not in combination.message
    with pytest.raises(LicenseError, match="no single licence can cover all works"):
        combination.require()


def test_hundreds_of_ports_in_conflict_still_make_a_readable_line() -> None:
    everything = [license for license in LICENSES.values() if license.version in ("2.0", "3.0", "4.0")]
    assert len(combine(everything).message) < 2_500


def test_no_derivatives_taken_on_the_users_word_is_noted_and_keeps_its_other_conditions() -> None:
    combination = combine(of("CC-BY-NC-ND-2.0 CC-BY-2.0"), allow_no_derivatives=True)
    assert combination.result is LICENSES["CC-BY-NC-4.0"]
    assert "CC-BY-NC-ND-2.0" in combination.message
    assert combination.notes


def test_attribution_is_owed_whether_there_is_a_result_or_not() -> None:
    assert combine(of("CC-BY-SA-2.0 CC-BY-NC-SA-2.0")).attribution
    assert not combine(of("CC0-1.0 PD")).attribution


@given(ANY, st.randoms(use_true_random=False), st.booleans())
def test_order_and_repetition_change_nothing(
    licenses: list[License], random: Random, no_derivatives: bool
) -> None:
    again = [*licenses, *licenses]
    random.shuffle(again)
    assert combine(again, allow_no_derivatives=no_derivatives) == combine(
        licenses, allow_no_derivatives=no_derivatives
    )


@given(ANY)
def test_the_result_drops_no_condition_of_any_part(licenses: list[License]) -> None:
    result = combine(licenses).result
    if result is not None:
        for license in licenses:
            assert license.reusable
            assert conditions(license) <= conditions(result)


@given(ANY)
def test_a_part_more_never_makes_the_result_more_permissive(licenses: list[License]) -> None:
    for count in range(len(licenses)):
        fewer, more = combine(licenses[:count]).result, combine(licenses[: count + 1]).result
        if more is not None:
            assert fewer is not None
            assert conditions(fewer) <= conditions(more)


@given(ANY, ANY)
def test_combining_in_groups_is_never_more_permissive(left: list[License], right: list[License]) -> None:
    first, second = combine(left).result, combine(right).result
    direct = combine([*left, *right]).result
    grouped = combine([first, second]).result if first and second else None
    if grouped is not None:
        assert direct is not None
        assert conditions(direct) <= conditions(grouped)


@given(SUITE, SUITE)
def test_for_the_current_licences_groups_make_no_difference(
    left: list[License], right: list[License]
) -> None:
    first, second = combine(left).result, combine(right).result
    direct = combine([*left, *right]).result
    assert direct == (combine([first, second]).result if first and second else None)


@given(ANY)
def test_the_public_domain_imposes_nothing(licenses: list[License]) -> None:
    assert combine([*licenses, CC0, LICENSES["PDM-1.0"]]).result == combine(licenses).result


@given(ANY)
def test_a_result_is_its_own_result(licenses: list[License]) -> None:
    result = combine(licenses).result
    if result is not None:
        assert combine([result]).result is result


@given(ANY)
def test_there_is_either_a_result_or_a_reason(licenses: list[License]) -> None:
    combination = combine(licenses)
    assert (combination.result is None) == bool(combination.conflicts)
    assert combination.licenses == tuple(sorted(set(licenses), key=str))
