"""EU-training-summary.md: the public summary of training content that Article 53(1)(d) of the EU's AI Act asks for.

The sections are those of the Commission's template, C(2025) 8311. What the table and the record don't know is marked
so; only the provider can say it.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from commoncanvas.core.files import replace_json, replace_text
from commoncanvas.core.text import cell, counted, markdown_text
from commoncanvas.provenance.markdown import last_part, templates
from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers.eu_data_sources import (
    DOMAINS,
    SHOWN_DOMAINS,
    data_sources,
    latest_collection,
    top_domains,
)
from commoncanvas.release.papers.facts import DataFacts, curated, data_facts, part_license

NAME = "EU-training-summary"
IMAGES = ((1_000_000, "less than 1 million images"), (10**9, "1 million to 1 billion images"))
TOKENS = ((10**9, "less than 1 billion tokens"), (10**13, "1 billion to 10 trillion tokens"))

ASKED = frozenset(
    """provider contact address small_firm version released languages user_data code_of_practice reservations
    illegal_content""".split()  # noqa: SIM905
)
"""Answers that this document has a place for."""


def write(model: ModelFolder, out: Path, about: About) -> None:
    """Write the summary as Markdown and as JSON, and the list of domains if it is long.

    Raises ModelError, ReleaseError.
    """
    facts = data_facts(model)
    sections = {
        "1. General information": _general(model, about, facts),
        "2. List of data sources": data_sources(model, about, facts),
        "3. Data processing aspects": _processing(model, about, facts),
    }
    head = {
        "Version of the summary": about.say("version"),
        "Last update": _day(datetime.now(UTC)),
    }
    missing = {name: question for name, question in about.missing().items() if name in ASKED}
    made = templates("commoncanvas.release.papers")
    made.filters["plain"] = markdown_text
    text = made.get_template("eu_summary.md.j2").render(head=head, sections=sections, missing=missing)
    replace_text(out / f"{NAME}.md", text)
    replace_json(out / f"{NAME}.json", {**head, **sections})
    top = top_domains(facts.hosts, about)
    if len(top) > SHOWN_DOMAINS:
        _write_domains(out / DOMAINS, top)
    else:
        (out / DOMAINS).unlink(missing_ok=True)


def _general(model: ModelFolder, about: About, facts: DataFacts) -> dict[str, Any]:
    record = model.record
    images = record["rows"]["train"]
    parts = [
        f"{each['role'].replace('_', ' ')} {last_part(each['model'])}, licence {part_license(each)}"
        for each in record["built_on"]
    ]
    return {
        "1.1. Provider identification": {
            "Provider name and contact details": "; ".join(
                about.say(name) for name in ("provider", "address", "contact")
            ),
            "Authorised representative": about.representative
            or "none stated; needed only if the provider is established outside of the Union",
        },
        "1.2. Model identification": {
            "Versioned model name": f"{about.model or record['name']}, version {about.say('version')}",
            "Digests of the weights (SHA-256)": [
                f"{name}: {digest}" for name, digest in record["weights"].items()
            ],
            "Model dependencies": parts or "none: it is not built on another model",
            "Date of placement on the Union market": _day(about.released) or about.say("released"),
        },
        "1.3. Modalities, overall training data size and other characteristics": {
            "Image": f"{binned(images, IMAGES, 'more than 1 billion images')} ({images:,})",
            "Text": f"{binned(2 * facts.words, TOKENS, 'more than 10 trillion tokens')} "
            f"({counted(facts.words, 'words')} in {counted(sum(facts.texts.values()), 'texts')} of the images)"
            if facts.texts
            else "none",
            "Audio, video, other": "none",
            "Types of content": f"images under {', '.join(record['licenses'])}"
            + (f"; texts from the columns {', '.join(facts.texts)}" if facts.texts else ""),
            "Latest date of data acquisition": latest_collection(model, about),
            "Is the model continuously trained on new data": "no; its weights are those of one training",
            "Linguistic characteristics": about.say("languages"),
            "Data of the parts": _parts_data(record) or "none recorded",
        },
    }


def _processing(model: ModelFolder, about: About, facts: DataFacts) -> dict[str, Any]:
    opted_out = facts.statuses.get("opted_out", 0)
    left_out = curated(model)
    policy = model.record["recipe"]["data"]["policy"]
    unknown = f"not known here: {facts.unknown}"
    return {
        "3.1. Respect of reservation of rights from text and data mining": {
            "Signatory of the Code of Practice": about.say("code_of_practice"),
            "Measures of the software": [
                f"only images whose licence allows it were used (policy {policy}); an unknown licence is never used",
                "images whose server sends X-Robots-Tag noai or noimageai are not downloaded: "
                + (unknown if facts.unknown else f"{counted(opted_out, 'images')} of the catalogs opted out"),
                "a creator can have images taken down; they are deleted and stay out of the catalogs: "
                + (
                    unknown
                    if facts.unknown
                    else f"{counted(facts.taken_down, 'images')} taken down until now"
                ),
                f"people can object to the use of their work at: {about.say('contact')}",
            ],
            "Other measures": about.say("reservations"),
        },
        "3.2. Removal of illegal content": {
            "Conditions on the training images": [f"left out: {words}" for words in left_out]
            or "the filters of the training have no condition on sexual content, duplicates or sharpness",
            "Lists of known illegal images": "the software compares with none",
            "Other measures": about.say("illegal_content"),
        },
        "3.3. Other information": {
            "Every image": "rows.parquet names each image; credits.csv has its creator, licence and page",
            "Licence of the weights": str(
                model.record.get("result_license_note", model.record["result_license"])
            ),
        },
    }


def _parts_data(record: dict[str, Any]) -> list[str]:
    """What the parts learned from, as far as it is recorded."""
    return [
        f"{each['role'].replace('_', ' ')} {last_part(each['model'])}: "
        + (counted(each["origin"]["rows"]["train"], "images") if each["origin"] else "not recorded")
        for each in record["built_on"]
    ]


def _day(day: date | None) -> str | None:
    """A day as the template has it; months are MM/YYYY there."""
    return f"{day:%d/%m/%Y}" if day else None


def binned(count: int, bins: tuple[tuple[int, str], ...], more: str) -> str:
    """The template's size range that holds `count`."""
    return next((name for limit, name in bins if count < limit), more)


def _write_domains(path: Path, domains: dict[str, int]) -> None:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["domain", "images"])
    writer.writerows([cell(name), count] for name, count in domains.items())
    replace_text(path, file.getvalue())
