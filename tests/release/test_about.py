"""Answers that only a person can give: read from YAML, and said to be missing where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from commoncanvas.core.errors import ReleaseError
from commoncanvas.release.about import About
from commoncanvas.release.about_file import load_about, template


def written(folder: Path, text: str) -> Path:
    path = folder / "about.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_template_has_every_question_and_no_answer(tmp_path: Path) -> None:
    text = template()
    assert set(yaml.safe_load(text)) == set(About.model_fields)
    about = load_about(written(tmp_path, text))
    assert about == load_about(None)
    assert {"provider", "contact", "released"} <= set(about.missing()) and "paper" not in about.missing()
    assert about.say("contact") == "(to be filled in by the provider: contact)"


def test_answers_are_read_as_people_write_them(tmp_path: Path) -> None:
    text = """
provider: >
  Open
  Pictures
released: 2026-11-29
collected_from: 2024-03
collected_until: 2025-01-31
published: org/name
data: org/pictures
user_data: false
sources: {museum: {kind: licensed, title: The Museum}}
"""
    about = load_about(written(tmp_path, text))
    assert (about.provider, about.say("released"), about.say("user_data")) == (
        "Open Pictures",
        "2026-11-29",
        "no",
    )
    assert (about.collected_from, about.collected_until) == ("2024-03", "2025-01")
    assert (
        about.hub_id == "org/name" and about.place("data") == "https://huggingface.co/datasets/org/pictures"
    )
    assert about.sources["museum"].kind == "licensed"
    assert not {"provider", "released", "user_data"} & set(about.missing())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("contakt: me", "about.yaml: there is no answer contakt; did you mean contact?"),
        ("sources: {museum: {king: public}}", "there is no answer sources.museum.king; did you mean kind?"),
        ("sources: {museum: {kind: bought}}", "sources.museum.kind: input should be 'public', 'licensed'"),
        ("collected_from: March", "collected_from: 'March' is not a month; write it as 2026-08"),
        ("released: soon", "released: "),
        ("dataset: {doi: x}", "dataset.doi: 'x' is not a DOI; write it as 10.5281/zenodo.1"),
        ("dataset: {url: a.org}", "dataset.url: 'a.org' is not an address; write it as https://"),
        ("dataset: {version: 1.0}", "dataset.version: '1.0' is not a version; write it as 1.0.0"),
        ("dataset: {answers: {fundin: x}}", "dataset.answers: there is no question fundin"),
        ("dataset: {answers: {funding: x}}", "dataset.answers: write the answer to funding as funding"),
        ("dataset: {answers: {url: x}}", "dataset.answers: there is no question url"),
        ("title: x", "there is no answer title; title belongs under dataset"),
        ("updates: x", "there is no answer updates; updates belongs under dataset.answers"),
        (
            "dataset: {provider: x}",
            "there is no answer dataset.provider; provider belongs at the top of the file",
        ),
        (
            "dataset: {zz: x}",
            "there is no answer dataset.zz; there are: answers, authors, doi, license, title,",
        ),
        ("parts: {vae: {author: x}}", "there is no answer parts.vae.author; did you mean authors?"),
        ("dataset:\n  doi: a\n  doi: b", "doi is in line 2 and in line 3; keep one of them"),
        ("- provider", "must be a mapping of answers"),
        ("provider: [", "is not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        load_about(written(tmp_path, text))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"none\.yaml can't be read: no such file"):
        load_about(tmp_path / "none.yaml")
