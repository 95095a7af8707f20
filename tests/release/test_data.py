"""A data set as it is published: all tools read it, everybody is credited, and what was removed can be found."""

from __future__ import annotations

import csv
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from commoncanvas.catalog import Catalog, import_, save_filter, takedown
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.numbers import size
from commoncanvas.release.check_data import check_data
from commoncanvas.release.data import release_data
from commoncanvas.release.data_about import linked
from commoncanvas.release.data_folder import DataFolder
from commoncanvas.release.datasheet import NOT_ANSWERED, OPEN, questions, sections
from commoncanvas.table.schema import to_batch
from tests.pages.test_report import Page
from tests.release.collection import LICENSES, ROWS, make_catalog, row

data = importlib.import_module("commoncanvas.release.data")
mlcroissant = pytest.importorskip("mlcroissant")
IDS = [f"photos:{number:02}" for number in range(ROWS)]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return make_catalog(tmp_path / "cc.lance")


def ids(folder: Path) -> list[str]:
    return [each["image_id"] for batch in DataFolder(folder).batches(["image_id"]) for each in batch]


def contents(folder: Path) -> Iterator[str]:
    """All text of a folder, with that inside of Parquet files."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            yield str(pq.read_table(path).to_pylist()) + str(pq.read_schema(path).metadata)
        elif path.is_file():
            yield path.read_bytes().decode(errors="replace")


@pytest.mark.parametrize(
    "format", ["huggingface", "parquet", pytest.param("webdataset", marks=pytest.mark.slow)]
)
def test_the_rows_of_the_tag_are_released_and_every_tool_reads_them(
    catalog: Catalog, tmp_path: Path, format: str
) -> None:
    released = release_data(catalog, tmp_path / "my set", tag="c-v1", format=format, shard_size="5")
    folder = tmp_path / "my set"
    assert ids(folder) == IDS
    assert released.exported.left_out == {"licence all-rights-reserved": 1}
    dataset = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not dataset.metadata.issues.errors
    assert not dataset.metadata.issues.warnings
    assert [each["images/image_id"].decode() for each in dataset.records("images")] == IDS
    assert not check_data(folder, catalog.uri).problems
    assert not [text for text in contents(folder) if str(tmp_path) in text or "somebody" in text]
    source = "img2dataset" if format == "webdataset" else "huggingface"
    assert import_(source, tmp_path / "again.lance", folder).new == ROWS
    if format == "webdataset":
        webdataset = pytest.importorskip("webdataset")
        urls = [str(path) for path in sorted((folder / "data").glob("*.tar"))]
        read = webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8")
        assert [each["json"]["image_id"] for each in read] == IDS
    else:
        datasets = pytest.importorskip("datasets")
        loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded["image_id"] == IDS
        assert loaded[3]["image"].size == (24, 16)


def test_croissant_has_the_version_and_the_responsible_ai_terms(catalog: Catalog, tmp_path: Path) -> None:
    about = tmp_path / "about.yaml"
    about.write_text(
        "publisher: The Lab\nauthors: [Ada, Bea]\nurl: https://lab.example/set\nversion: 2.1.0\n"
        "answers: {impact_analysis: None yet}\n"
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


def test_without_images_there_is_no_picture_but_what_is_needed_to_fetch_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    release_data(catalog, tmp_path / "out", tag="c-v1", images=False)
    rows = pq.read_table(tmp_path / "out/data/train-00000.parquet").to_pylist()
    for number, found in enumerate(rows):
        for name in ("image_url", "sha256", "license", "creator", "page_url", "title"):
            assert found[name] == row(number)[name]
        assert "image" not in found
    assert "data:image/webp" not in (tmp_path / "out/stats.html").read_text()
    assert not check_data(tmp_path / "out").problems
    with pytest.raises(CatalogError, match="WebDataset shards have images"):
        release_data(catalog, tmp_path / "other", tag="c-v1", images=False, format="webdataset")


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
    assert "Add these lines to data-about.yaml. Write" in " ".join(str(released).split())
    again = release_data(catalog, tmp_path / "out", tag="c-v1", about=about)
    assert f"Addtheselinesto{about};thoseunderanswersbelong" in "".join(str(again).split())
    assert again.to_fill_in == released.to_fill_in  # nothing was written yet
    about.write_text("\n".join(line.replace("#", "https://lab.example #") for line in released.to_fill_in))
    assert not release_data(catalog, tmp_path / "out", tag="c-v1", about=about).to_fill_in
    sheet = (tmp_path / "out/datasheet.md").read_text()
    assert OPEN.split("{")[0] not in sheet
    assert sheet.count("https://lab.example") >= len(released.to_fill_in) - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("publsher: x", "there is no key publsher \\(did you mean publisher\\?\\)"),
        ("answers: {fundin: x}", "answers has no question fundin \\(did you mean funding\\?\\)"),
        ("zz: 1\nyy: 2", r"there is no key zz or yy; there are: answers, authors, [^;]*version$"),
        ("funding: x", "funding belongs under answers"),
        (
            "provider: x\ncontact: y\nfunding: z",
            "is the file of release model: it has provider; give release data",
        ),
        ("answers: {funding: x}\nanswers: {used: y}", "answers is in line 1 and in line 2; keep one"),
        ("version: 1.0", "version: Input should be a valid string"),
        ("url: lab.example", "url: String should match"),
        ("- a", "the file: Input should be"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_key_of_the_publishers_file_is_named(
    catalog: Catalog, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "about.yaml").write_text(text)
    with pytest.raises(CatalogError, match=message) as raised:
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
    assert linked(contact) == shown


def test_the_card_names_its_publisher_and_the_licence_of_the_table(catalog: Catalog, tmp_path: Path) -> None:
    about = tmp_path / "data-about.yaml"
    about.write_text("publisher: The [Lab]\ncontact: mailto:a@lab.example\nlicense: CDLA-Permissive-2.0\n")
    release_data(catalog, tmp_path / "out", tag="c-v1", about=about)
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "Published by The \\[Lab\\] (<a@lab.example>). The table itself, without the images, is under" in card
    )
    assert (
        "is under CDLA-Permissive-2.0.\n" in card and "Ask <a@lab.example> to have an image removed." in card
    )
    assert "Ask <a@lab.example>." in answered((tmp_path / "out/datasheet.md").read_text(), "revoke")


def documented(folder: Path) -> Any:
    """`is_removed` of the code in a released README.md."""
    (code,) = (
        each
        for each in re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        if "is_removed" in each
    )
    names: dict[str, Any] = {}
    exec(code.replace('"removed.parquet"', repr(str(folder / "removed.parquet"))), names)
    return names["is_removed"]


def test_a_filter_that_names_a_person_is_not_published(catalog: Catalog, tmp_path: Path) -> None:
    save_filter(Catalog.open(catalog.uri), "c-v2", "creator != 'Zoë Nobody'")
    release_data(catalog.uri, tmp_path / "out", tag="c-v2")
    assert not [text for text in contents(tmp_path / "out") if "Nobody" in text]
    assert "leaves out, by condition: a further condition" in (tmp_path / "out/datasheet.md").read_text()


def test_who_holds_a_former_release_finds_what_to_delete(catalog: Catalog, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("v1", "v2", "v3"))
    release_data(catalog, first, tag="c-v1", format="webdataset")
    held = [each for batch in DataFolder(first).batches(["image_id", "sha256"]) for each in batch]
    assert not any(map(documented(first), held))
    takedown(catalog.uri, creator="https://photos.example/people/1", reason="asked by Jane Doe")
    gone = {f"photos:{number:02}" for number in (1, 5, 9)}
    released = release_data(catalog.uri, second, tag="c-v1", since=first)
    assert (released.removed, released.removed_since) == (3, 3)
    assert {each["image_id"] for each in held if documented(second)(each)} == gone
    assert "3 images of the former release were taken down" in (second / "README.md").read_text()
    takedown(catalog.uri, id=["photos:02"], reason="asked")
    released = release_data(catalog.uri, third, tag="c-v1", since=second, images=False)
    assert released.removed_since == 1
    assert {each["image_id"] for each in held if documented(third)(each)} == {*gone, "photos:02"}
    listed = pandas.read_parquet(third / "removed.parquet")
    assert list(listed) == ["key"]
    assert all(re.fullmatch("[0-9a-f]{64}", key) for key in listed["key"])
    assert "Jane Doe" not in "".join(contents(second))
    (first / "removed.parquet").write_bytes((third / "removed.parquet").read_bytes())
    (found,) = (each for each in check_data(first).findings if each.check == "removed")
    assert found.verdict == "problem" and found.details[0].startswith("4 images that removed.parquet lists")


def test_rows_that_were_only_selected_away_are_not_called_removed(catalog: Catalog, tmp_path: Path) -> None:
    release_data(catalog, tmp_path / "v1", tag="c-v1")
    save_filter(Catalog.open(catalog.uri), "c-v2", "license = 'CC0-1.0'")
    released = release_data(catalog.uri, tmp_path / "v2", tag="c-v2", since=tmp_path / "v1")
    assert (released.removed, released.removed_since) == (0, 0)
    assert "9 more are not in this one for other reasons" in (tmp_path / "v2/datasheet.md").read_text()
    with pytest.raises(CatalogError, match="keep the former release"):
        release_data(catalog.uri, tmp_path / "v1", tag="c-v1", since=tmp_path / "v1")
    (tmp_path / "v1/README.md").unlink()
    with pytest.raises(CatalogError, match=r"v1 is no complete release: .* has no README\.md"):
        release_data(catalog.uri, tmp_path / "v3", tag="c-v2", since=tmp_path / "v1")


def test_a_takedown_during_the_release_is_in_none_of_its_files(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = data.write_sums, 0

    def during(*how: Any, **more: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            takedown(catalog.uri, id=["photos:03"], reason="asked")
        write(*how, **more)

    monkeypatch.setattr(data, "write_sums", during)
    released = release_data(catalog.uri, tmp_path / "out", tag="c-v1")
    assert (calls, released.exported.rows, released.removed) == (2, ROWS - 1, 1)
    for text in contents(tmp_path / "out"):
        assert "photos:03" not in text and "photos.example/3" not in text
    assert f"{ROWS - 1} images by" in (tmp_path / "out/datasheet.md").read_text()
    assert not check_data(tmp_path / "out", catalog.uri).problems


def test_stopped_at_any_file_it_goes_on_and_ends_complete(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(Exception): ...

    replace, left = Path.replace, 0

    def stops(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stops)
    for allowed in range(40):
        left = allowed
        try:
            release_data(catalog, tmp_path / "out", tag="c-v1", shard_size="7")
            break
        except Stopped:
            assert not (tmp_path / "out").exists()
    assert allowed > 10
    monkeypatch.undo()
    assert not check_data(tmp_path / "out", catalog.uri).problems
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix == ".part"]
    release_data(catalog, tmp_path / "whole", tag="c-v1", shard_size="7")
    for path in sorted((tmp_path / "whole/data").iterdir()):
        assert path.read_bytes() == (tmp_path / "out/data" / path.name).read_bytes()


def test_credits_have_one_line_for_each_image(catalog: Catalog, tmp_path: Path) -> None:
    catalog.add([to_batch([row(81)])])
    release_data(catalog, tmp_path / "out", tag="c-v1")
    with (tmp_path / "out/credits.csv").open(encoding="utf-8", newline="") as file:
        assert [line["image_id"] for line in csv.DictReader(file)] == IDS


def test_a_tag_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no tag c-v9"):
        release_data(catalog, tmp_path / "out", tag="c-v9")
    assert not list(tmp_path.glob("out*"))
