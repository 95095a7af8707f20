"""The documents of a released data set: what they say is true, and each question is answered or left open."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

from commoncanvas.catalog import Catalog, save_filter
from commoncanvas.core.errors import ReleaseError
from commoncanvas.core.numbers import size
from commoncanvas.core.text import markdown_link
from commoncanvas.release.data import release_data
from commoncanvas.release.datasheet import NOT_ANSWERED, OPEN, questions, sections
from commoncanvas.table.schema import to_batch
from tests.pages.test_report import Page
from tests.release.collection import LICENSES, ROWS, make_catalog, row

mlcroissant = pytest.importorskip("mlcroissant")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make_catalog(tmp_path / "cc.lance")


def test_croissant_has_the_version_and_the_responsible_ai_terms(catalog: Catalog, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text(
        "provider: The Lab\ndataset:\n  authors: [Ada, Bea]\n  url: https://lab.example/set\n  version: 2.1.0\n"
        "  answers: {impact_analysis: None yet}\n"
    )
    release_data(catalog, tmp_path / "out", tag="c-v1", about=about)
    written = json.loads((tmp_path / "out/croissant.json").read_text())
    assert written["conformsTo"] == [
        "http://mlcommons.org/croissant/1.1",
        "http://mlcommons.org/croissant/RAI/1.0",
    ]
    assert written["@context"]["rai"] == "http://mlcommons.org/croissant/RAI/"
    assert (written["url"], written["version"]) == ("https://lab.example/set", "2.1.0")
    assert written["publisher"] == {"@type": "sc:Organization", "name": "The Lab"}
    assert written["creator"] == [{"@type": "sc:Person", "name": name} for name in ("Ada", "Bea")]
    cited = yaml.safe_load((tmp_path / "out/CITATION.cff").read_text())
    assert (cited["authors"], cited["version"]) == ([{"name": "Ada"}, {"name": "Bea"}], "2.1.0")
    terms = ("dataCollection", "dataBiases", "dataLimitations", "personalSensitiveInformation")
    terms += ("dataUseCases", "dataReleaseMaintenancePlan", "dataPreprocessingProtocol")
    for term in terms:
        assert written[f"rai:{term}"], term
        assert "to be filled in" not in str(written[f"rai:{term}"])
    limits = " ".join(written["rai:dataLimitations"])
    assert (
        "The data set should not be used to identify or profile people, nor in ways that the licence"
        in limits
    )
    assert re.fullmatch(r"Was the impact on .*assessment\? None yet", written["rai:dataSocialImpact"])
    values = [value for name, value in written.items() if name.startswith("rai:")]
    texts = [text for value in values for text in (value if isinstance(value, list) else [value])]
    assert not {re.split(r"\W", text)[0] for text in texts} & {"Yes", "To", "Not", "It", "A", "Captioning"}
    metadata = mlcroissant.Dataset(jsonld=tmp_path / "out/croissant.json").metadata
    assert "removed.parquet" in metadata.data_release_maintenance_plan


def test_mixed_licences_are_listed_and_the_hub_finds_them(catalog: Catalog, tmp_path: Path) -> None:
    release_data(catalog, tmp_path / "out", tag="c-v1")
    note = (tmp_path / "out/LICENSE").read_text()
    for license in LICENSES:
        assert f"- {license}: 3 images, https://creativecommons.org/" in note
    assert "no single licence can cover all works" in note
    header = yaml.safe_load((tmp_path / "out/README.md").read_text().split("---\n")[1])
    assert header["license"] == ["cc-by-2.0", "cc-by-nc-sa-4.0", "cc0-1.0", "other"]
    assert header["license_link"] == "LICENSE"
    cited = yaml.safe_load((tmp_path / "out/CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cited["date-released"])


def answered(sheet: str, key: str) -> str:
    """The answer to a question of datasheet.md."""
    return sheet.partition(f"<!-- {key} -->\n\n")[2].partition("\n")[0]


def test_the_datasheet_answers_or_asks_every_question(catalog: Catalog, tmp_path: Path) -> None:
    released = release_data(catalog, tmp_path / "out", tag="c-v1")
    sheet = (tmp_path / "out/datasheet.md").read_text()
    assert len(sections()) == 7
    assert len(list(questions())) == 57
    for section, asked in sections().items():
        part = sheet.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert [each.question for each in asked] == re.findall(r"\*\*(.+)\*\*", part)
    assert f"{ROWS} images by 4 named creators" in sheet
    assert "by people, 4 images" in sheet
    assert answered(sheet, "subpopulations").startswith(
        "No column was made for this; titles, tags and texts may"
    )
    comments = [each.key for each in questions() if each.question == "Anything else?"]
    assert len(comments) == 7 and {answered(sheet, key) for key in comments} == {NOT_ANSWERED}
    about = tmp_path / "about.yaml"
    about.write_text("\n".join(released.to_fill_in))
    assert "Add these lines to about.yaml. Write" in " ".join(str(released).split())
    again = release_data(catalog, tmp_path / "out", tag="c-v1", about=about)
    assert f"Addtheselinesto{about};thoseunderdatasetbelong" in "".join(str(again).split())
    assert again.to_fill_in == released.to_fill_in  # nothing was written yet
    about.write_text("\n".join(line.replace("#", "https://lab.example #") for line in released.to_fill_in))
    assert not release_data(catalog, tmp_path / "out", tag="c-v1", about=about).to_fill_in
    sheet = (tmp_path / "out/datasheet.md").read_text()
    assert OPEN.split("{")[0] not in sheet
    assert sheet.count("https://lab.example") >= len(released.to_fill_in) - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("provder: x", "there is no answer provder; did you mean provider\\?"),
        (
            "dataset: {answers: {used: x}}\ndataset: {answers: {}}",
            "dataset is in line 1 and in line 2; keep one",
        ),
        ("- a", "must be a mapping"),
    ],
)
def test_a_wrong_key_of_the_publishers_file_is_named(
    catalog: Catalog, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "about.yaml").write_text(text)
    with pytest.raises(ReleaseError, match=message) as raised:
        release_data(catalog, tmp_path / "out", tag="c-v1", about=tmp_path / "about.yaml")
    assert "about.yaml" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("out*"))


def test_the_statistics_are_of_the_release_and_not_of_its_catalog(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add_columns([pa.field("latents", pa.list_(pa.float16()))])
    release_data(catalog, tmp_path / "out", tag="c-v1")
    text = re.sub(r"\s+", " ", Page((tmp_path / "out/stats.html").read_text()).text)
    stored = size(sum(path.stat().st_size for path in (tmp_path / "out/data").iterdir()))
    assert f"the files have {stored}." in text and "rows in the data set" in text
    columns = text.partition("such column of the data set")[2]
    assert "label" in columns
    for untrue in ("latents", "in total", "Some images were left out", "smaller than they are stored"):
        assert untrue not in text


def test_missing_words_are_counted_and_the_card_says_who_wrote_those_that_are_there(
    catalog: Catalog, tmp_path: Path
) -> None:
    listed = [row(number) for number in range(40, 46)]
    catalog.add_columns([pa.field("caption", pa.string())])
    words = (
        {"label": " ", "caption": "A shape"},
        {"label": "a", "caption": "b"},
        {"label": ""},
        {"tags": []},
    )
    words += ({"title": "", "tags": ["cat"]}, {"title": None})
    listed = [
        {**each, "caption": None, "label": None, **more} for each, more in zip(listed, words, strict=True)
    ]
    catalog.add([to_batch(listed, [pa.field("caption", pa.string())])])
    save_filter(catalog, "c-v3", "fetch_status = 'ok' AND image_id > 'photos:39' AND image_id < 'photos:50'")
    release_data(catalog, tmp_path / "out", tag="c-v3")
    missing = answered((tmp_path / "out/datasheet.md").read_text(), "missing")
    assert "4 images have no text. 2 images have no title. 5 images have no tags." in missing
    card = (tmp_path / "out/README.md").read_text().replace("\u00a0", " ")
    assert (
        "2 of 6 images (33.3 %) have a text (`text`). 2 of 6 images (33.3 %) have a caption by a model."
        in card
    )


@pytest.mark.parametrize(
    ("contact", "shown"),
    [
        ("mailto:images@museum.example", "<images@museum.example>"),
        ("images@museum.example", "<images@museum.example>"),
        ("https://museum.example/ask", "<https://museum.example/ask>"),
        ("https://museum.example/a><b>", "<https://museum.example/a%3E%3Cb%3E>"),
        ("javascript:alert(1)", r"javascript:alert\(1\)"),
        ("the desk <b>", r"the desk \<b\>"),
    ],
)
def test_a_contact_is_a_link_if_it_can_be(contact: str, shown: str) -> None:
    assert markdown_link(contact) == shown


def test_the_card_names_its_publisher_and_the_licence_of_the_table(catalog: Catalog, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text(
        "provider: The [Lab]\ncontact: mailto:a@lab.example\ndataset: {license: CDLA-Permissive-2.0}\n"
    )
    release_data(catalog, tmp_path / "out", tag="c-v1", about=about)
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "Published by The \\[Lab\\] (<a@lab.example>). The table itself, without the images, is under" in card
    )
    assert (
        "is under CDLA-Permissive-2.0.\n" in card and "Ask <a@lab.example> to have an image removed." in card
    )
    assert "Ask <a@lab.example>." in answered((tmp_path / "out/datasheet.md").read_text(), "revoke")
