"""Answers that only a person can give: read from YAML, and said to be missing where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from commoncanvas.core.errors import ReleaseError
from commoncanvas.release.about import About, load_about, template


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
