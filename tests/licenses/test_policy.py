"""Licence values and policies: what each licence permits, and who may train on it."""

from __future__ import annotations

import re
from pathlib import Path

import lance
import pyarrow as pa
import pytest

from commoncanvas.licenses import (
    ALL_RIGHTS_RESERVED,
    LICENSES,
    UNKNOWN,
    License,
    Policy,
    allows,
    sql_filter,
)

# id: commercial, derivatives, share_alike, attribution, public_domain, version, jurisdiction, name, address;
# read off Creative Commons' deeds by hand.
FACTS = {
    "CC-BY-4.0": (1, 1, 0, 1, 0, "4.0", None, "CC BY 4.0", "licenses/by/4.0/"),
    "CC-BY-SA-2.0": (1, 1, 1, 1, 0, "2.0", None, "CC BY-SA 2.0", "licenses/by-sa/2.0/"),
    "CC-BY-ND-2.0": (1, 0, 0, 1, 0, "2.0", None, "CC BY-ND 2.0", "licenses/by-nd/2.0/"),
    "CC-BY-NC-2.5": (0, 1, 0, 1, 0, "2.5", None, "CC BY-NC 2.5", "licenses/by-nc/2.5/"),
    "CC-BY-NC-SA-2.0": (0, 1, 1, 1, 0, "2.0", None, "CC BY-NC-SA 2.0", "licenses/by-nc-sa/2.0/"),
    "CC-BY-NC-ND-3.0": (0, 0, 0, 1, 0, "3.0", None, "CC BY-NC-ND 3.0", "licenses/by-nc-nd/3.0/"),
    "CC-BY-NC-ND-1.0": (0, 0, 0, 1, 0, "1.0", None, "CC BY-ND-NC 1.0", "licenses/by-nd-nc/1.0/"),
    "CC-BY-3.0-US": (1, 1, 0, 1, 0, "3.0", "us", "CC BY 3.0 US", "licenses/by/3.0/us/"),
    "CC-BY-SA-2.1-JP": (1, 1, 1, 1, 0, "2.1", "jp", "CC BY-SA 2.1 JP", "licenses/by-sa/2.1/jp/"),
    "CC-BY-2.5-SCOTLAND": (
        *(1, 1, 0, 1, 0, "2.5", "scotland"),
        *("CC BY 2.5 SCOTLAND", "licenses/by/2.5/scotland/"),
    ),
    "CC-SA-1.0": (1, 1, 1, 0, 0, "1.0", None, "CC SA 1.0", "licenses/sa/1.0/"),
    "CC-NC-1.0": (0, 1, 0, 0, 0, "1.0", None, "CC NC 1.0", "licenses/nc/1.0/"),
    "CC-ND-1.0": (1, 0, 0, 0, 0, "1.0", None, "CC ND 1.0", "licenses/nd/1.0/"),
    "CC-ND-NC-2.0-JP": (0, 0, 0, 0, 0, "2.0", "jp", "CC ND-NC 2.0 JP", "licenses/nd-nc/2.0/jp/"),
    "CC-Sampling-Plus-1.0": (1, 1, 0, 1, 0, "1.0", None, "CC Sampling+ 1.0", "licenses/sampling+/1.0/"),
    "CC-NC-Sampling-Plus-1.0": (
        *(0, 1, 0, 1, 0, "1.0", None),
        *("CC NC-Sampling+ 1.0", "licenses/nc-sampling+/1.0/"),
    ),
    "CC-DevNations-2.0": (1, 1, 0, 1, 0, "2.0", None, "CC DevNations 2.0", "licenses/devnations/2.0/"),
    "CC0-1.0": (1, 1, 0, 0, 1, "1.0", None, "CC0 1.0", "publicdomain/zero/1.0/"),
    "PDM-1.0": (1, 1, 0, 0, 1, "1.0", None, "Public Domain Mark 1.0", "publicdomain/mark/1.0/"),
    "CC-PDDC": (
        *(1, 1, 0, 0, 1, "1.0", "us"),
        *("Public Domain Certification 1.0 US", "publicdomain/certification/1.0/us/"),
    ),
}


@pytest.mark.parametrize("id", FACTS)
def test_what_a_licence_permits_is_what_its_deed_says(id: str) -> None:
    license = LICENSES[id]
    assert (
        int(license.commercial),
        int(license.derivatives),
        int(license.share_alike),
        int(license.attribution),
        int(license.public_domain),
        license.version,
        license.jurisdiction,
        license.name,
        (license.url or "").removeprefix("https://creativecommons.org/"),
    ) == FACTS[id]


def test_every_tool_of_creative_commons_is_there_and_none_that_never_was() -> None:
    addresses = [license.url for license in LICENSES.values() if "creativecommons.org" in (license.url or "")]
    # Creative Commons' own list has 639 rows.
    assert len(addresses) == len(set(addresses)) == 639
    for never in ("CC-BY-5.0", "CC-BY-2.7", "CC-BY-ND-SA-4.0", "CC-BY-4.0-DE", "CC-BY-2.1", "CC-SA-2.0"):
        assert never not in LICENSES


def test_an_id_can_stand_in_an_sql_string_and_an_address_as_it_is() -> None:
    for id, license in LICENSES.items():
        assert id == license.id == str(license)
        assert re.fullmatch(r"[A-Za-z0-9.-]+", id)


def test_a_licence_is_equal_to_its_like_and_can_be_counted() -> None:
    assert LICENSES["CC-BY-4.0"] != LICENSES["CC-BY-3.0"]
    assert len({*LICENSES.values(), *list(LICENSES.values())}) == len(LICENSES)
    with pytest.raises(AttributeError):
        LICENSES["CC-BY-4.0"].commercial = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("id", "commercial", "noncommercial"),
    [
        ("CC0-1.0", True, True),
        ("PDM-1.0", True, True),
        ("PD", True, True),
        ("PD-USGov", True, True),
        ("no-known-copyright-restrictions", True, True),
        ("CC-BY", True, True),
        ("CC-BY-2.0", True, True),
        ("CC-BY-SA-4.0", True, True),
        ("CC-BY-NC-2.0", False, True),
        ("CC-BY-NC-SA-3.0-DE", False, True),
        ("CC-BY-ND-2.0", False, False),
        ("CC-BY-NC-ND-4.0", False, False),
        ("CC-Sampling-1.0", False, False),
        ("CC-DevNations-2.0", False, False),
        ("all-rights-reserved", False, False),
        ("unknown", False, False),
    ],
)
def test_a_policy_admits_what_its_users_were_promised(id: str, commercial: bool, noncommercial: bool) -> None:
    assert allows(LICENSES[id], Policy.COMMERCIAL) is commercial
    assert allows(LICENSES[id], Policy.NONCOMMERCIAL) is noncommercial


def test_no_derivatives_comes_in_only_when_asked_for_and_keeps_its_noncommercial() -> None:
    assert allows(LICENSES["CC-BY-ND-2.0"], Policy.COMMERCIAL, allow_no_derivatives=True)
    assert not allows(LICENSES["CC-BY-NC-ND-2.0"], Policy.COMMERCIAL, allow_no_derivatives=True)
    assert allows(LICENSES["CC-BY-NC-ND-2.0"], Policy.NONCOMMERCIAL, allow_no_derivatives=True)


@pytest.mark.parametrize("license", [UNKNOWN, ALL_RIGHTS_RESERVED])
@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("allow_no_derivatives", [False, True])
def test_the_unknown_and_the_reserved_are_never_trained_on(
    license: License, policy: Policy, allow_no_derivatives: bool
) -> None:
    assert not allows(license, policy, allow_no_derivatives=allow_no_derivatives)


def test_what_the_commercial_policy_admits_the_noncommercial_one_admits() -> None:
    for license in LICENSES.values():
        assert allows(license, Policy.NONCOMMERCIAL) or not allows(license, Policy.COMMERCIAL)


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("allow_no_derivatives", [False, True])
def test_the_sql_filter_admits_exactly_what_allows_admits(
    tmp_path: Path, policy: Policy, allow_no_derivatives: bool
) -> None:
    # Not canonical, so not to be let in however much they look it.
    strangers = [None, "", "CC-BY-5.0", "cc-by-4.0", "CC-BY-4.0 ", "CC-BY%", "CC-BY-4.0-XX"]
    table = pa.table({"license": pa.array([*LICENSES, *strangers], pa.string())})
    dataset = lance.write_dataset(table, tmp_path / "licences.lance")
    found = dataset.to_table(filter=sql_filter(policy, allow_no_derivatives))["license"].to_pylist()
    assert found == [
        license.id
        for license in LICENSES.values()
        if allows(license, policy, allow_no_derivatives=allow_no_derivatives)
    ]
