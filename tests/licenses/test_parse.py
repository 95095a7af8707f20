"""Parsing: every spelling that the world uses comes out as the right licence, and nonsense as unknown."""

from __future__ import annotations

import time
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.core.errors import LicenseError
from commoncanvas.licenses import LICENSES, UNKNOWN, License, parse, require

KNOWN = [license for license in LICENSES.values() if license.known]
WITH_ADDRESS = [license for license in KNOWN if "creativecommons.org" in (license.url or "")]
# Language tags as they stand in Creative Commons' addresses, old forms included.
LANGUAGES = [
    "de",
    "fr",
    "en_US",
    "en-gb",
    "pt_BR",
    "pt-br",
    "zh",
    "zh-hant",
    "zh_TW",
    "sr@latin",
    "sr_latn",
    "es_ES",
    "fr-ca",
    "oc-aranes",
    "eo",
    "ast",
]

SPELLINGS = {
    # SPDX
    "cc-by-4.0": "CC-BY-4.0",
    "CC-BY-3.0-DE": "CC-BY-3.0-DE",
    "CC-BY-NC-SA-2.0-FR": "CC-BY-NC-SA-2.0-FR",
    "CC-BY-SA-2.0-UK": "CC-BY-SA-2.0-UK",
    "CC-BY-NC-ND-3.0-IGO": "CC-BY-NC-ND-3.0-IGO",
    "CC-BY-NC-ND-1.0": "CC-BY-NC-ND-1.0",
    "CC-BY-ND-NC-1.0": "CC-BY-NC-ND-1.0",
    "cc0-1.0": "CC0-1.0",
    "CC-PDDC": "CC-PDDC",
    "CC-PDM-1.0": "PDM-1.0",
    "CC-SA-1.0": "CC-SA-1.0",
    "https://spdx.org/licenses/CC-BY-SA-4.0.html": "CC-BY-SA-4.0",
    "Creative Commons Attribution Non Commercial Share Alike 3.0 Unported": "CC-BY-NC-SA-3.0",
    "Creative Commons Attribution-NonCommercial-ShareAlike 2.0 France": "CC-BY-NC-SA-2.0-FR",
    "Creative Commons Attribution Share Alike 2.0 England and Wales": "CC-BY-SA-2.0-UK",
    "Creative Commons Zero v1.0 Universal": "CC0-1.0",
    "Creative Commons Public Domain Dedication and Certification": "CC-PDDC",
    "Creative Commons Public Domain Mark 1.0 Universal": "PDM-1.0",
    # addresses
    "http://creativecommons.org/licenses/by-nc-sa/2.0/": "CC-BY-NC-SA-2.0",
    "HTTPS://WWW.CreativeCommons.org/licenses/BY/4.0": "CC-BY-4.0",
    "//creativecommons.org/licenses/by/3.0/us/": "CC-BY-3.0-US",
    "creativecommons.org/licenses/by/4.0/legalcode.fr": "CC-BY-4.0",
    "https://creativecommons.org/licenses/by/4.0/legalcode.txt": "CC-BY-4.0",
    "<https://creativecommons.org/licenses/by/4.0/>.": "CC-BY-4.0",
    "https://creativecommons.org/licenses/by-sa/4.0/?ref=chooser-v1": "CC-BY-SA-4.0",
    "https://creativecommons.org/licenses/by-sa/4.0/deed.en#heading": "CC-BY-SA-4.0",
    "http://creativecommons.org/licenses/nc-sampling+/1.0/tw/deed.en_SG": "CC-NC-Sampling-Plus-1.0-TW",
    "http://creativecommons.org/licenses/sampling%2B/1.0/": "CC-Sampling-Plus-1.0",
    "http://creativecommons.org/licenses/publicdomain/": "CC-PDDC",
    "http://creativecommons.org/licenses/publicdomain/deed.de": "CC-PDDC",
    "https://creativecommons.org/publicdomain/zero/1.0/deed.ja": "CC0-1.0",
    "https://creativecommons.org/publicdomain/mark/1.0": "PDM-1.0",
    "https://creativecommons.org/licenses/by-nc-nd/1.0/": "CC-BY-NC-ND-1.0",
    "https://creativecommons.org/licenses/by": "CC-BY",
    "https://www.flickr.com/commons/usage/": "no-known-copyright-restrictions",
    "http://www.usa.gov/copyright.shtml": "PD-USGov",
    # Flickr's names, from whoever
    "Attribution-NonCommercial-ShareAlike License": "CC-BY-NC-SA",
    "Attribution License": "CC-BY",
    "Attribution-NoDerivs License": "CC-BY-ND",
    "CC BY-NC-ND 4.0": "CC-BY-NC-ND-4.0",
    "No known copyright restrictions": "no-known-copyright-restrictions",
    "United States Government Work": "PD-USGov",
    "Public Domain Dedication (CC0)": "CC0-1.0",
    "Public Domain Mark": "PDM-1.0",
    "All Rights Reserved": "all-rights-reserved",
    # Wikimedia
    "{{Cc-by-sa-4.0}}": "CC-BY-SA-4.0",
    "{{cc-by-sa-3.0|Somebody}}": "CC-BY-SA-3.0",
    "Cc-by-sa-3.0,2.5,2.0,1.0": "CC-BY-SA-3.0",
    "Cc-by-sa-4.0,3.0,2.5,2.0,1.0": "CC-BY-SA-4.0",
    "Cc-by-sa-all": "CC-BY-SA-3.0",
    "cc-by-sa-3.0-de": "CC-BY-SA-3.0-DE",
    "Cc-by-sa-3.0-migrated": "CC-BY-SA-3.0",
    "{{self|GFDL|cc-by-sa-3.0|migration=relicense}}": "CC-BY-SA-3.0",
    "{{self|cc-by-sa-4.0|cc-by-4.0}}": "CC-BY-4.0",
    "{{self|GFDL}}": "unknown",
    "PD-old": "PD",
    "{{PD-old-100-expired}}": "PD",
    "PD-self": "PD",
    "{{PD-Art|PD-old-100}}": "PD",
    "PD-US-no_notice": "PD",
    "Cc-zero": "CC0-1.0",
    "CC-PD-Mark": "PDM-1.0",
    "Cc-pd": "CC-PDDC",
    "PD-USGov": "PD-USGov",
    "{{PD-USGov-NASA}}": "PD-USGov",
    "Flickr-no known copyright restrictions": "no-known-copyright-restrictions",
    "Public domain": "PD",
    "CC0": "CC0-1.0",
    "CC BY-SA 4.0": "CC-BY-SA-4.0",
    "CC BY-SA 3.0 igo": "CC-BY-SA-3.0-IGO",
    "GFDL": "unknown",
    "Attribution": "unknown",  # {{Attribution}} is not Creative Commons'
    "PD-India": "unknown",  # by one country's law
    # people
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY 4.0 International License.": "CC-BY-4.0",
    "cc by": "CC-BY",
    "Creative Commons Attribution 4.0 International Public License": "CC-BY-4.0",
    "Creative Commons Attribution": "CC-BY",
    "CC-BY-NC": "CC-BY-NC",
    "by-nc-sa": "CC-BY-NC-SA",
    "CCBY4.0": "CC-BY-4.0",
    "cc_by_sa_3.0": "CC-BY-SA-3.0",
    "CC BY v3": "CC-BY-3.0",
    "CC-SA-BY 4.0": "CC-BY-SA-4.0",
    "Creative Commons Attribution-ShareAlike 4.0 International": "CC-BY-SA-4.0",
    "Creative Commons Attribution 4.0 International (CC BY 4.0)": "CC-BY-4.0",
    "Attribution-NonCommercial-ShareAlike 3.0 Unported (CC BY-NC-SA)": "CC-BY-NC-SA-3.0",
    "CC BY-SA 3.0 (Germany)": "CC-BY-SA-3.0-DE",
    "Attribution 3.0 Germany (CC BY 3.0)": "CC-BY-3.0-DE",
    "Attribution-NonCommercial-ShareAlike 3.0 Unported": "CC-BY-NC-SA-3.0",
    "Attribution-Noncommercial-No Derivative Works 3.0 United States": "CC-BY-NC-ND-3.0-US",
    "Attribution 2.5 UK: Scotland": "CC-BY-2.5-SCOTLAND",
    "Creative Commons Attribution NoDerivatives 4.0": "CC-BY-ND-4.0",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
    "CC Sampling Plus 1.0": "CC-Sampling-Plus-1.0",
    "CC Sampling+": "CC-Sampling-Plus-1.0",
    # nonsense, and what only looks like a licence
    "CC-BY-5.0": "unknown",
    "CC-BY-2.7": "unknown",
    "CC-BY-ND-SA-4.0": "unknown",
    "CC-BY-4.0-DE": "unknown",
    "CC-BY-BY-4.0": "unknown",
    "CC0-2.0": "unknown",
    "CC-NC": "unknown",
    "not CC BY 4.0": "unknown",
    "CC BY 4.0 except the logo": "unknown",
    "CC BY 4.0 (CC BY-NC 4.0)": "unknown",
    "CC BY-SA 4.0 or MIT": "unknown",
    "by": "unknown",
    "nd": "unknown",
    "by license": "unknown",
    "no CC BY 3.0": "unknown",
    "cc": "unknown",
    "Creative Commons": "unknown",
    "4": "unknown",
    "MIT": "unknown",
    "": "unknown",
    "https://creativecommons.org/": "unknown",
    "https://creativecommons.org/licenses/": "unknown",
    "https://creativecommons.org/licenses/by/4.0/de/": "unknown",
    "https://creativecommons.org/licenses/by-by/4.0/": "unknown",
    "https://creativecommons.org/licenses/by/4.0/deed.de/more/and/more": "unknown",
    "https://creativecommons.org.example/licenses/by/4.0/": "unknown",
    "https://example.org/creativecommons.org/licenses/by/4.0/": "unknown",
    "see https://creativecommons.org/licenses/by/4.0/": "unknown",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_read_as_the_licence_that_it_means(text: str) -> None:
    assert parse(text).id == SPELLINGS[text]


@pytest.mark.parametrize(
    ("id", "expected"),
    enumerate(
        [
            "all-rights-reserved",
            "CC-BY-NC-SA-2.0",
            "CC-BY-NC-2.0",
            "CC-BY-NC-ND-2.0",
            "CC-BY-2.0",
            "CC-BY-SA-2.0",
            "CC-BY-ND-2.0",
            "no-known-copyright-restrictions",
            "PD-USGov",
            "CC0-1.0",
            "PDM-1.0",
            "CC-BY-4.0",
            "CC-BY-SA-4.0",
            "CC-BY-ND-4.0",
            "CC-BY-NC-4.0",
            "CC-BY-NC-SA-4.0",
            "CC-BY-NC-ND-4.0",
        ]
    ),
)
def test_a_number_is_flickrs_licence_when_flickr_wrote_it_and_nothing_otherwise(
    id: int, expected: str
) -> None:
    assert parse(id, source="flickr").id == parse(str(id), source="Flickr").id == expected
    assert parse(id) is parse(str(id)) is parse(id, source="folder") is UNKNOWN


@pytest.mark.parametrize("id", [-1, 17, 10**9])
def test_a_number_that_flickr_never_gave_out_is_unknown(id: int) -> None:
    assert parse(id, source="flickr") is UNKNOWN


def test_flickrs_names_without_a_version_mean_two_point_zero_from_flickr_only() -> None:
    assert parse("Attribution License", source="flickr").id == "CC-BY-2.0"
    name = "Attribution-NonCommercial-NoDerivs License"
    assert parse(name, source="yfcc").id == "CC-BY-NC-ND-2.0"
    assert parse(name).id == "CC-BY-NC-ND"
    assert parse("CC BY-SA 4.0", source="flickr").id == "CC-BY-SA-4.0"


def test_wikimedias_no_restrictions_counts_from_wikimedia_only() -> None:
    assert parse("No restrictions", source="wikimedia").id == "no-known-copyright-restrictions"
    assert parse("No restrictions") is UNKNOWN


@pytest.mark.parametrize(
    ("slug", "version", "expected"),
    [
        ("by", "4.0", "CC-BY-4.0"),
        ("by-nc-sa", "2.0", "CC-BY-NC-SA-2.0"),
        ("by-nd", "2.5", "CC-BY-ND-2.5"),
        ("by-nd-nc", "1.0", "CC-BY-NC-ND-1.0"),
        ("cc0", "1.0", "CC0-1.0"),
        ("pdm", "1.0", "PDM-1.0"),
        ("certification", "1.0", "CC-PDDC"),
        ("publicdomain", "N/A", "PD"),
        ("sa", "1.0", "CC-SA-1.0"),
        ("sampling+", "1.0", "CC-Sampling-Plus-1.0"),
        ("nc-sampling+", "1.0", "CC-NC-Sampling-Plus-1.0"),
        ("CC-BY", "4", "CC-BY-4.0"),
        ("CC BY 3.0 DE", "3.0", "CC-BY-3.0-DE"),
        # the two contradict each other, or there is no such version
        ("CC-BY-4.0", "3.0", "unknown"),
        ("https://creativecommons.org/licenses/by/4.0/", "3.0", "unknown"),
        ("cc0", "4.0", "unknown"),
        ("by", "2.7", "unknown"),
        ("by", "1.0.0", "unknown"),
    ],
)
def test_a_slug_and_its_version_in_two_fields_are_read_together(
    slug: str, version: str, expected: str
) -> None:
    assert parse(slug, version).id == expected


def test_nothing_is_unknown() -> None:
    assert parse(None) is parse("") is parse("  ") is parse("unknown") is UNKNOWN


@pytest.mark.parametrize("license", LICENSES.values(), ids=str)
def test_an_id_or_a_name_comes_back_as_the_licence_in_any_case(license: License) -> None:
    for text in (license.id, license.name):
        for written in (text, text.lower(), text.upper(), f"  {text}\n"):
            assert parse(written) is (license if license.known else UNKNOWN)


@given(
    license=st.sampled_from(WITH_ADDRESS),
    scheme=st.sampled_from(["http://", "https://", "//", "", "HTTP://"]),
    www=st.sampled_from(["", "www."]),
    page=st.sampled_from(["", "deed", "legalcode", "rdf"]),
    language=st.sampled_from(["", *LANGUAGES]),
    slash=st.sampled_from(["", "/"]),
    tail=st.sampled_from(["", "?ref=x&y=1", "#deed", "?a#b"]),
    upper=st.booleans(),
)
def test_an_address_comes_back_as_the_licence_in_every_form(
    license: License, scheme: str, www: str, page: str, language: str, slash: str, tail: str, upper: bool
) -> None:
    assert license.url is not None
    path = license.url.removeprefix("https://creativecommons.org/").rstrip("/")
    if page:
        path += f"/{page}" + (f".{language}" if language else "")
    text = f"{scheme}{www}creativecommons.org/{path}{slash}{tail}"
    assert parse(text.upper() if upper else text) is license


@given(
    license=st.sampled_from([license for license in KNOWN if license.id.startswith("CC-BY")]),
    separator=st.sampled_from([" ", "-", "_", "  ", " - ", "/"]),
    order=st.randoms(use_true_random=False),
)
def test_separators_and_the_order_of_elements_do_not_change_the_licence(
    license: License, separator: str, order: Random
) -> None:
    words = license.id.split("-")[1:]
    units = [word for word in words if word in ("BY", "NC", "ND", "SA")]
    rest = words[len(units) :]
    shuffled = order.choice(list(permutations(units)))
    assert parse(separator.join(["CC", *shuffled, *rest])) is license


@given(st.text())
def test_no_text_raises_and_what_is_read_can_be_read_again(text: str) -> None:
    license = parse(text)
    assert parse(license.id) is license


@given(
    st.lists(
        st.sampled_from(
            [
                "cc",
                "by",
                "nc",
                "nd",
                "sa",
                "-",
                ".",
                ",",
                "/",
                "(",
                ")",
                "{",
                "}",
                "|",
                ":",
                "//",
                "creativecommons.org",
                "licenses",
                "publicdomain",
                "zero",
                "1.0",
                "4.0",
                "7.3",
                "de",
                "attribution",
                "share",
                "alike",
                "non",
                "commercial",
                "self",
                "pd",
                "old",
                "+",
                "%",
                "%zz",
                "%ff",
                "?",
                "#",
                "not",
                "or",
                "٤",
                "ﬁ",
            ]
        ),
        max_size=12,
    ),
    st.sampled_from(["", " ", "-", "/"]),
    st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["1.0", "4.0", "v3", "9"])),
    st.sampled_from([None, "flickr", "wikimedia", "nobody"]),
)
def test_hostile_mixtures_of_licence_words_never_raise(
    words: list[str], glue: str, version: str | None, source: str | None
) -> None:
    assert parse(glue.join(words), version, source=source).id in LICENSES


@given(st.sampled_from(KNOWN), st.sampled_from(["not", "except", "no", "or", "and", "xx", "non-free"]))
def test_one_word_not_understood_makes_the_whole_unknown(license: License, word: str) -> None:
    assert parse(f"{word} {license.name}") is UNKNOWN
    assert parse(f"{license.name} {word} other") is UNKNOWN


def test_a_whole_licence_text_is_not_taken_for_its_name() -> None:
    assert parse("CC BY 4.0 " * 100) is UNKNOWN


def test_require_names_the_licence_the_place_and_the_way_out() -> None:
    assert require("CC BY 4.0", where="yfcc:123").id == "CC-BY-4.0"
    assert require("All rights reserved", where="yfcc:123").id == "all-rights-reserved"
    with pytest.raises(
        LicenseError, match=r"^licence 'CC-BY-5\.0' of yfcc:123 is unknown; correct the source or "
    ):
        require("CC-BY-5.0", where="yfcc:123")


def test_a_hundred_million_rows_are_parsed_in_minutes() -> None:
    texts = [license.url or license.id for license in LICENSES.values()] * 400
    seconds = []
    for _ in range(5):
        start = time.process_time()
        for text in texts:
            parse(text)
        seconds.append(time.process_time() - start)
    # Three to four million a second on a busy core of the machine this was written on.
    assert len(texts) / min(seconds) > 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "{{cc-by-4.0|x}}{{cc-by-nc-4.0}}",
        "{{Cc-by-sa-4.0|Jane}}{{Copyvio}}",
        "{{cc-by-4.0|1=Jane}} {{non-free}}",
        "{{PD-old|x}}, but not in France {{FoP}}",
    ],
)
def test_two_templates_are_not_the_first(text: str) -> None:
    assert not parse(text).known
