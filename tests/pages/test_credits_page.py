"""The page of credits finds people, works and licences in a real browser, and shows strangers' text as text."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.core.text import visible
from commoncanvas.pages import credits_keys, credits_search
from commoncanvas.pages.credits_index import MOST, index_of, spelled
from commoncanvas.pages.credits_keys import SAME, bucket_count, bucketed, keys_of, plain
from commoncanvas.pages.credits_search import write_credits_page
from tests.pages.test_report import CHROMIUM, FLAGS

HACK = "document.body.dataset.hacked=1"
ROWS: list[tuple[str | None, str | None, str | None, str | None]] = [
    (f'<img src=x onerror="{HACK}">', f"</script><script>{HACK}</script>", f"javascript:{HACK}", "CC-BY-4.0"),
    ("\u202eevil\u2066 reversed", "\u202elive\x00 creator", "data:text/html,x", "CC0-1.0"),
    ("__proto__", "constructor", "https://example.org/constructor", "CC-BY-4.0"),
    ("東京タワー", "𠮷田 太郎", "https://example.org/yoshida", "CC-BY-SA-4.0"),
    ("شجرة خضراء", "مريم", "https://example.org/maryam", "CC-BY-SA-4.0"),
    ("A fjord", "Åse O'Brien", "https://example.org/ase", "CC-BY-4.0"),
    ("Mona in Paris", "Ann", "https://example.org/ann", "CC-BY-4.0"),
    ("Mona in Rome", "Joanne Ann", "https://example.org/joanne", "CC-BY-2.0"),
    ("Paris", "Ann", "https://example.org/another-ann", "<b>own licence</b>"),
    (None, None, None, None),
    ("word " * 500, "x" * 5000, "https://example.org/" + "y" * 3000, "CC-BY-4.0"),
]
DRIVER = """
(async () => {
  const rest = () => new Promise((next) => setTimeout(next, 5));
  const texts = (where) => [...document.querySelectorAll(where)].map((each) => each.textContent);
  while (document.body.dataset.asked === undefined) await rest();
  const input = document.getElementById("query"), seen = { start: texts("#licenses .person"), answers: {} };
  for (const query of QUERIES) {
    delete document.body.dataset.asked;
    input.value = query;
    input.dispatchEvent(new Event("input"));
    while (document.body.dataset.asked === undefined) await rest();
    const person = document.querySelector("main .person");
    person?.click();
    for (let turn = 0; person && !document.querySelector("main .people .works li") && turn < 400; turn++) await rest();
    seen.answers[query] = { people: texts("#people .person"), works: texts("#works li"),
      licenses: texts("#licenses .person"),
      opened: texts("main .people .works li"), status: document.getElementById("status").textContent,
      links: [...document.querySelectorAll("main .works a")].map((each) => each.href),
      markup: document.querySelectorAll("main img, main script, main b").length };
  }
  seen.keys = TEXTS.map((text) => [keyOf(text), hashOf(keyOf(text))]);
  seen.words = TEXTS.map((text) => wordsOf(text).join(" "));
  seen.files = performance.getEntriesByType("resource").map((each) => each.name);
  seen.wide = document.documentElement.scrollWidth;
  seen.focused = document.activeElement.id;
  document.body.dataset.seen = JSON.stringify(seen);
})();
"""
TEXTS = [
    "HTTPS://www.Example.org/%C5%BDena//",
    "https://example.org/%zz%41",
    "example.org/%ff",
    "WWW.a.org/A?b=%2F",
    "Åse O'Brien",
    "東京タワー",
    "ΣΊΣΥΦΟΣ İstanbul",
    "ﬁne ½ Straße",
    "गीता 한국어 𠮷",
    "a_b-c.d",
]


def write(folder: Path, rows: list[tuple[str | None, ...]]) -> Path:
    titles, creators, urls, ids = zip(*rows, strict=True)
    table = pa.table(
        {
            "image_id": [f"made:{number}" for number in range(len(rows))],
            "title": pa.array(titles, pa.string()),
            "creator": pa.array(creators, pa.string()),
            "creator_url": pa.array(urls, pa.string()),
            "source_url": pa.array(urls, pa.string()),
            "license": pa.array(ids, pa.string()),
            "license_name": pa.array(ids, pa.string()),
            "license_url": pa.array(urls, pa.string()),
            "changes": pa.array([None] * len(rows), pa.string()),
        }
    )
    pq.write_table(table, folder / "credits.parquet")
    write_credits_page(folder / "credits.parquet", folder, "xs")
    return folder / "credits.html"


def browse(page: Path, queries: list[str], width: int = 1200) -> dict[str, Any]:
    """What the page shows for each query. Its policy forbids scripts in the page, so the driver is a file too."""
    driver = DRIVER.replace("QUERIES", json.dumps(queries)).replace("TEXTS", json.dumps(TEXTS))
    (page.parent / "credits" / "driver.js").write_text(driver, encoding="utf-8")
    driven = page.with_name("driven.html")
    driven.write_text(
        page.read_text().replace("</head>", '<script src="credits/driver.js" defer></script></head>')
    )
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--window-size={width},2000",
        "--virtual-time-budget=60000",
        "--dump-dom",
    ]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    ran = subprocess.run(
        [*command, profile, driven.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert "CONSOLE" not in ran.stderr, ran.stderr
    assert "data-hacked" not in ran.stdout
    found = re.search(r'data-seen="([^"]*)"', ran.stdout)
    assert found, ran.stdout[-3000:]
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.slow
@pytest.mark.parametrize("width", [1200, 390])
def test_people_works_and_licences_are_found_and_hostile_text_is_text(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Several scripts of each kind, as large collections have.
    monkeypatch.setattr(credits_search, "ROWS", 2)
    monkeypatch.setattr(credits_search, "CREATORS", 2)
    monkeypatch.setattr(credits_search, "WORDS", 4)
    queries = [
        "script",
        "live",
        "proto",
        "京",
        "𠮷",
        "مريم",
        "ase o'b",
        "ann",
        "ann rome",
        "paris",
        "by sa",
        "nobody",
        "zz",
        "x",
    ]
    seen = browse(write(tmp_path, list(ROWS)), queries, width)
    answers = seen["answers"]

    def people(query: str) -> list[str]:
        return [re.sub(r"\d+ works?$", "", each) for each in answers[query]["people"]]

    assert people("script") == [f"</script><script>{HACK}</script>"]
    assert answers["script"]["opened"][0].startswith(f'<img src=x onerror="{HACK}"> by </script>')
    assert people("live") == ["\ufffdlive\ufffd creator"]
    assert answers["proto"]["works"][0].startswith("__proto__ by constructor is licensed under CC-BY-4.0")
    assert answers["京"]["works"][0].startswith("東京タワー by 𠮷田 太郎") and people("𠮷") == ["𠮷田 太郎"]
    assert people("مريم") == ["مريم"] and people("ase o'b") == ["Åse O'Brien"]
    assert answers["by sa"]["status"] == "1 licence" and answers["paris"]["status"] == "2 titles"
    assert people("ann") == ["Ann", "Ann", "Joanne Ann"], "who has exactly this name is first"
    assert [each.partition(" by ")[0] for each in answers["ann rome"]["works"]] == ["Mona in Rome"]
    assert {each.partition(" by ")[0] for each in answers["paris"]["works"]} == {"Paris", "Mona in Paris"}
    assert answers["by sa"]["licenses"] == ["CC-BY-SA-4.02 works"] and len(answers["by sa"]["opened"]) == 2
    assert answers["nobody"]["status"] == "Nothing found" and not answers["nobody"]["works"]
    assert len(people("x")) == 1 and len(people("x")[0]) == 300
    assert "<b>own licence</b>1 work" in seen["start"] and "licence not stated1 work" in seen["start"]
    for answer in answers.values():
        assert answer["markup"] == 0 and all(
            link.startswith("https://example.org/") for link in answer["links"]
        )
        assert all(text == visible(text) for part in ("people", "works", "opened") for text in answer[part])
    assert all(file.startswith("file://") for file in seen["files"])
    assert seen["focused"] == "query"
    assert seen["wide"] <= max(width, 500)  # Chromium makes no window narrower than 500
    keys = plain(pa.array(TEXTS, pa.large_string())).to_pylist()
    assert seen["keys"] == [[key, crc32(key.encode())] for key in keys]
    assert seen["words"] == spelled(pa.array(TEXTS, pa.large_string())).to_pylist()


def test_the_page_has_no_script_of_its_own_and_asks_no_host(tmp_path: Path) -> None:
    page = write(tmp_path, list(ROWS)).read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>", page) == ['<script src="credits/search.js" defer>']
    assert "default-src 'none'" in page and not re.search(r"(src|href)=\"https?:", page)
    script = (tmp_path / "credits/search.js").read_text(encoding="utf-8")
    assert "innerHTML" not in script and "fetch(" not in script and "eval(" not in script


def test_no_credits_make_an_empty_page(tmp_path: Path) -> None:
    write(tmp_path, [(None, None, None, None)])
    table = pq.read_table(tmp_path / "credits.parquet")
    pq.write_table(table.slice(0, 0), tmp_path / "credits.parquet")
    write_credits_page(tmp_path / "credits.parquet", tmp_path, "xs")
    index = (tmp_path / "credits/index.js").read_text(encoding="utf-8")
    assert '"rows":0,"creators":0' in index and not (tmp_path / "credits/rows-0.js").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_ids_and_addresses_are_found_however_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credits_keys, "IN_BUCKET", 3)
    wanted = {
        "made:6": ("Mona in Paris", "Mona in Paris"),
        " MADE:6 ": ("Mona in Paris", "Mona in Paris"),
        "6": ("Mona in Paris", "Mona in Paris"),
        "https://example.org/ann": ("Mona in Paris", "Ann"),
        "www.example.org/ann/": ("Mona in Paris", "Ann"),
        "http://EXAMPLE.org/%61nn": ("Mona in Paris", "Ann"),
        "https://example.org/" + "y" * 3000: ("word word", "x"),
        "made:66": (None, None),
        "https://example.org/an": (None, None),
    }
    answers = browse(write(tmp_path, list(ROWS)), list(wanted))["answers"]
    for query, (title, creator) in wanted.items():
        works, people = answers[query]["works"], answers[query]["people"]
        if title is None:
            assert not works and not people and answers[query]["status"] == "Nothing found", query
        else:
            assert works[0].startswith(title), query
            assert len(works) == 1 and (
                not people if title == creator else people[0].startswith(str(creator))
            )
    assert answers["https://example.org/ann"]["status"] == "1 creator · 1 work"
    assert len(list((tmp_path / "credits").glob("keys-*.js"))) > 5


@given(st.lists(st.text(max_size=6) | st.none(), max_size=30), st.integers(1, 5))
def test_each_key_is_in_its_bucket_with_each_row_that_has_it(texts: list[str | None], buckets: int) -> None:
    texts = [text and visible(text) for text in texts]
    column = pa.array(texts, pa.large_string())
    own = plain(column).to_pylist()
    every = list(bucketed(keys_of(column, column), buckets))
    for row, key in enumerate(own):
        if key:
            hash = crc32(key.encode())
            bucket = every[hash % buckets]
            assert row in bucket.numbers[bucket.hashes == hash // buckets % (1 << 16)]
    assert sum(len(each.numbers) for each in every) == sum(bool(key) for key in own)


def test_an_address_that_very_many_works_have_is_cut() -> None:
    found = keys_of(pa.array(["https://a.org/"] * (SAME + 7) + ["a.org/b"], pa.large_string()))
    assert len(found.numbers) == SAME + 1 and bucket_count(10**9) == 1000


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=12))
def test_each_word_leads_to_exactly_the_texts_that_have_it(texts: list[str]) -> None:
    index = index_of(pa.array(texts, pa.large_string()), pa.array(texts[:1], pa.large_string()))
    words = [set(each.split(" ")) - {""} for each in spelled(pa.array(texts, pa.large_string())).to_pylist()]
    assert index.words == sorted(set().union(*words))
    for number, word in enumerate(index.words):
        bounds = index.titles.offsets[number : number + 2]
        assert index.titles.numbers[slice(*bounds)].tolist() == [
            at for at, own in enumerate(words) if word in own
        ]
        assert (word in words[0]) == bool(np.diff(index.creators.offsets)[number])


def test_a_word_that_very_many_titles_have_is_cut_and_counted() -> None:
    index = index_of(pa.array(["red"] * (MOST + 7), pa.large_string()), pa.array([], pa.large_string()))
    assert index.titles.counts.tolist() == [MOST + 7] and len(index.titles.numbers) == MOST
