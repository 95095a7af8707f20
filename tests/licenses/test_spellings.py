"""Families of spellings that a person reads at once, generated; and of texts that nobody should read as a licence."""

from __future__ import annotations

from itertools import product

import pytest

from commoncanvas.licenses import CC0, LICENSES, License, may_object, parse

FULL = {
    "BY": "Attribution",
    "BY-SA": "Attribution-ShareAlike",
    "BY-NC": "Attribution-NonCommercial",
    "BY-NC-SA": "Attribution-NonCommercial-ShareAlike",
    "BY-ND": "Attribution-NoDerivatives",
    "BY-NC-ND": "Attribution-NonCommercial-NoDerivatives",
}
SUITE = [
    (LICENSES[f"CC-{unit}-{version}"], unit, name, version, kind)
    for (unit, name), (version, kind) in product(
        FULL.items(), (("2.0", "Generic"), ("3.0", "Unported"), ("4.0", "International"))
    )
]

# {u}: the elements, {n}: their names, {v}: the version, {k}: International and the like, {a}: the address.
FORMS = [
    # dashes and blanks of other kinds
    *(f"CC{dash}{{u}}{dash}{{v}}" for dash in "\u2010\u2011\u2012\u2013\u2014\u2212\uff0d"),
    *(f"CC{blank}{{u}}{blank}{{v}}" for blank in ("\u00a0", "\u2009", "\u202f", "\u3000", "\t", "  ", "_", " ")),
    "CC\u00ad-{u}\u200b-{v}",
    "\ufeffCC {u} {v}",
    "CC&nbsp;{u}&nbsp;{v}",
    "“CC {u} {v}”",
    # versions
    *(f"CC {{u}} {before}{{v}}" for before in ("v", "V", "v. ", "ver. ", "version ", "Version ", "v ")),
    "CC_{u_}_{v_}",
    "cc-{u}-{v-}",
    "CC {u} {v,}",
    "CC{u}{v}",
    "CC.{u}.{v}",
    # names
    "Creative Commons {n} {v} {k}",
    "Creative Commons {n} {v} {k} License",
    "Creative Commons {n} {v} {k} Licence",
    "Creative Commons {n} {v} {k} Public License",
    "Creative-Commons-Lizenz {n} {v} {k}",
    "creative commons {n} license {v}",
    "{n} {v} {k}",
    "{n} {v} {k} Deed",
    "{n} {v} {k} Legal Code",
    "CC {n} {v}",
    "Creative Commons CC {u} {v}",
    "Creative Commons: {u} {v}",
    # the same twice
    "{n} {v} {k} (CC {u} {v})",
    "CC {u} {v} ({n} {v} {k})",
    "CC {u} {v} {n} {v} {k}",
    "{n} {v} {k} CC {u} {v}",
    "Creative Commons — {n} {v} {k} — CC {u} {v}",
    "CC {u} {v} Deed | {n} {v} {k} | Creative Commons",
    "CC-{u}-{v}, Creative Commons {n} {v} {k}",
    # with its address
    "CC {u} {v} ({a})",
    "CC {u} {v} [{a}]",
    "CC {u} {v} <{a}>",
    "CC {u} {v} {a}",
    "CC {u} {v}: {a}",
    "CC {u} {v} - {a}deed.en",
    "CC {u} {v}; {a}legalcode",
    "{a} (CC {u} {v})",
    "[CC {u} {v}]({a})",
    "[{a} CC {u} {v}]",
    "({a})",
    "Creative Commons {n} {v} {k} ({a})",
    '<a href="{a}">CC {u} {v}</a>',
    "<a rel='license' href='{a}'>Creative Commons {n} {v} {k} License</a>",
    '<p><a href={a} target="_blank"><b>CC {u} {v}</b></a></p>',
    "&lt;a href=&quot;{a}&quot;&gt;CC {u} {v}&lt;/a&gt;",
    '<a rel="license" href="{a}"><img alt="Creative Commons License" style="border-width:0" '
    'src="https://i.creativecommons.org/l/{u}/{v}/88x31.png" /></a><br />This work is licensed under a '
    '<a rel="license" href="{a}">Creative Commons {n} {v} {k} License</a>.',
    # sentences
    "This work is licensed under a Creative Commons {n} {v} {k} License.",
    "This file is licensed under the Creative Commons {n} {v} {k} license.",
    "Licensed under CC {u} {v}",
    "Image licensed under CC {u} {v}.",
    "Available under the CC {u} {v} license",
    "Released under the terms of the Creative Commons {n} {v} {k} License",
    "License: CC {u} {v}",
    "Licence: {a}",
    "SPDX-License-Identifier: CC-{u}-{v}",
    "CC {u} {v}, some rights reserved",
    "Some rights reserved (CC {u} {v})",
]  # fmt: skip


def spelled(form: str, unit: str, name: str, version: str, kind: str, license: License) -> str:
    for mark in "_-,":
        form = form.replace(f"{{v{mark}}}", version.replace(".", mark)).replace(
            f"{{u{mark}}}", unit.replace("-", mark)
        )
    return form.format(u=unit, n=name, v=version, k=kind, a=license.url)


@pytest.mark.parametrize("form", FORMS)
def test_a_spelling_that_a_person_reads_at_once_is_read(form: str) -> None:
    for license, unit, name, version, kind in SUITE:
        text = spelled(form, unit, name, version, kind, license)
        for written in (text, text.upper(), text.lower()):
            assert parse(written).id == license.id, written


ZERO = [
    f"{name}{version}{tail}"
    for name, version, tail in product(
        ("CC0", "CC 0", "CC-0", "CC Zero", "Creative Commons Zero", "Creative Commons CC0", "CC\u20110"),
        ("", " 1.0", "_1_0", " v1.0", " Version 1.0"),
        ("", " Universal", " Universal Deed", " Universal (CC0 1.0) Public Domain Dedication", " License"),
    )
]  # fmt: skip
MARK = [
    f"{name}{version}{tail}"
    for name, version, tail in product(
        ("Public Domain Mark", "PDM", "CC PDM", "Creative Commons Public Domain Mark", "Public-Domain Mark"),
        ("", " 1.0", " 1.0 Universal", " 1.0 Universal Deed"),
        ("", " (https://creativecommons.org/publicdomain/mark/1.0/)"),
    )
]


@pytest.mark.parametrize(("texts", "expected"), [(ZERO, "CC0-1.0"), (MARK, "PDM-1.0")])
def test_the_tools_for_the_public_domain_are_read_in_every_form(texts: list[str], expected: str) -> None:
    assert {text: parse(text).id for text in texts if parse(text).id != expected} == {}


def test_there_are_at_least_two_hundred_different_spellings() -> None:
    made = {spelled(form, *rest, license) for form in FORMS for license, *rest in SUITE}
    assert len(made | set(ZERO) | set(MARK)) > 1200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Namensnennung - Weitergabe unter gleichen Bedingungen 4.0 International", "CC-BY-SA-4.0"),
        ("Creative Commons Namensnennung – Nicht kommerziell – Keine Bearbeitungen 4.0", "CC-BY-NC-ND-4.0"),
        ("CC BY 4.0 Namensnennung 4.0 International", "CC-BY-4.0"),
        ("Attribution - Pas d’Utilisation Commerciale 4.0 International", "CC-BY-NC-4.0"),
        ("Attribution - Partage dans les Mêmes Conditions 4.0 International (CC BY-SA 4.0)", "CC-BY-SA-4.0"),
        (
            "Licencia Creative Commons Atribución-NoComercial-CompartirIgual 4.0 Internacional",
            "CC-BY-NC-SA-4.0",
        ),
        ("Reconocimiento-SinObraDerivada 3.0", "CC-BY-ND-3.0"),
        ("Attribuzione - Non commerciale - Condividi allo stesso modo 4.0 Internazionale", "CC-BY-NC-SA-4.0"),
        ("Creative Commons Atribuição-CompartilhaIgual 4.0", "CC-BY-SA-4.0"),
        ("Creative Commons Naamsvermelding-NietCommercieel-GeenAfgeleideWerken 4.0", "CC-BY-NC-ND-4.0"),
        ("Namensnennung - Weitergabe unter gleichen Bedingungen 3.0 Deutschland", "CC-BY-SA-3.0-DE"),
        ("Namensnennung 3.0 Österreich (CC BY 3.0 AT)", "CC-BY-3.0-AT"),
        ("Creative Commons (CC BY 4.0)", "CC-BY-4.0"),
        ("Creative Commons Attribution; version 4.0", "CC-BY-4.0"),
        ("This work is in the public domain.", "PD"),
        ("CCBYNCSA 4.0", "CC-BY-NC-SA-4.0"),
        ("CC0: Public Domain", "CC0-1.0"),
        ("Public Domain (CC0)", "CC0-1.0"),
        ("http://www.opendefinition.org/licenses/cc-by", "CC-BY"),
        ("© 2019 Jane Doe. All rights reserved.", "all-rights-reserved"),
        ("Alle Rechte vorbehalten", "all-rights-reserved"),
        ("Tous droits réservés", "all-rights-reserved"),
    ],
)
def test_translated_names_and_odd_ones_are_read(text: str, expected: str) -> None:
    assert parse(text).id == expected


AMBIGUOUS = [
    "не CC BY 4.0",
    "除 CC BY 4.0",
    "CC BY 4.0 / CC BY-SA 4.0",
    "CC BY 4.0 | All rights reserved",
    "CC BY 4.0 – CC BY 3.0",
    "CC BY 4.0 (https://creativecommons.org/licenses/by-nc/4.0/)",
    "CC BY 4.0 https://creativecommons.org/licenses/by/2.0/",
    "CC BY 4.0 https://example.org/licence",
    "CC0 https://creativecommons.org/publicdomain/mark/1.0/",
    '<a href="https://creativecommons.org/licenses/by/4.0/">not free</a>',
    '<a href="https://creativecommons.org/licenses/by/4.0/">CC BY-NC 4.0</a>',
    '<a href="https://example.org/by">CC BY 4.0</a>',
    "<script>CC BY 4.0</script>",
    "CC BY 4.0 for text, CC BY-NC 4.0 for images",
    "text licensed under CC BY 4.0",
    "previously licensed under CC BY 4.0",
    "was released under CC BY 4.0",
    "Licensed under CC BY 4.0 unless noted",
    "This work is not licensed under CC BY 4.0",
    "CC BY 4.0 or later",
    "CC BY",  # known, but of no version
    "CC BY 4.0 (images excluded)",
    "CC BY 4_7",
    "CC BY 40",
    "CC0 4.0",
    "CC0 not",
    "cc zero tolerance",
    "Public Domain Mark 2.0",
    "Creative Commons License",
    "Creative Commons Public Domain Dedication",
    "Attribution required",
    "Attribution, all rights reserved",
    "not all rights reserved",
    "not in the public domain",
    "() CC BY 4.0 (not)",
    "All rights reserved?",
    "CC BY 4.0?",
    "all rights reserved for text",
    "CC BY-NC-ND-SA 4.0",
    "legal attribution",
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_what_a_person_would_ask_about_is_not_read(text: str) -> None:
    license = parse(text)
    assert license.id == ("CC-BY" if text == "CC BY" else "unknown")


@pytest.mark.parametrize(
    "before",
    [
        "not ",
        "formerly ",
        "no longer under ",
        "text: ",
        "except logos: ",
        "ohne ",
        "sauf ",
        "si\u0301 ",
        "или ",
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_a_word_before_a_spelling_that_is_not_understood_makes_it_unknown(form: str, before: str) -> None:
    license, *rest = SUITE[-1]
    assert not parse(before + spelled(form, *rest, license)).known


@pytest.mark.parametrize("form", [form for form in FORMS if "href" not in form])
def test_a_word_anywhere_that_is_not_understood_makes_a_spelling_unknown(form: str) -> None:
    license, *rest = SUITE[-1]
    words = spelled(form, *rest, license).split(" ")
    for place, word in product(range(len(words) + 1), ("not", "except", "formerly", "logos")):
        text = " ".join([*words[:place], word, *words[place:]])
        assert not parse(text).known, text


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        *[
            (text, False)
            for text in ("", "n/a", "See below.", "https://example.org/terms", "© 2019 Jane Doe")
        ],
        *[
            (text, False)
            for text in ("Photo: Ada Lovelace", "Museum für Naturkunde, Berlin", "Jane Doe, 1920")
        ],
        *[
            (text, False)
            for text in ("some rights reserved", "No rights reserved", "open access", "J. R. R. Tolkien")
        ],
        *[
            (text, False)
            for text in ("© dschwen", "(c) 2019 jane doe", "Copyright 2009-2012, a.b@example.org")
        ],
        *[
            (text, True)
            for text in ("© nur privat", "© not for reuse", "© 2019 a text of many words, and of more")
        ],
        *[
            (text, True)
            for text in ("Editorial Use Only", "Nur für private Nutzung", "MIT", "GPL-3.0", "in copyright")
        ],
        *[
            (text, True)
            for text in ("No reuse", "© Museum, permission required", "reproduction interdite", "mine")
        ],
        *[(text, True) for text in ("http://rightsstatements.org/vocab/InC/1.0/", "版权所有", "CC BY 9.0")],
        *[
            (text, True)
            for text in ("https://creativecommons.org/licenses/by/9.0/", "Prohibida su reproducción")
        ],
    ],
)
def test_texts_without_a_licence_object_unless_they_only_name_people_or_point_elsewhere(
    text: str, objects: bool
) -> None:
    assert may_object(text, LICENSES["CC-BY-4.0"]) == objects
    assert not may_object(text, LICENSES["all-rights-reserved"])


@pytest.mark.parametrize(
    "text", ["© 2019 City Museum", "(c) Jane Doe", "Copyright Jane Doe", "Some rights reserved"]
)
def test_who_claims_a_copyright_objects_to_the_public_domain(text: str) -> None:
    assert may_object(text, CC0) and not may_object(text, LICENSES["CC-BY-4.0"])
