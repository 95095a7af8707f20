"""Documents of a data set beside its datasheet: LICENSE, CITATION.cff, and additions to the card and to Croissant."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from commoncanvas.catalog.export.croissant import VERSION, load_mlcroissant
from commoncanvas.catalog.export.data_card import Card, More, hub_licenses
from commoncanvas.catalog.export.papers import described
from commoncanvas.catalog.export_folder import REMOVED
from commoncanvas.core.numbers import percent, ratio
from commoncanvas.core.text import counted, markdown_cell, markdown_link
from commoncanvas.licenses import combine
from commoncanvas.release.about import About
from commoncanvas.release.data_facts import rai
from commoncanvas.release.datasheet import DATASHEET, OPEN, Answers
from commoncanvas.release.sums import SUMS

LICENSE, CITATION, STATISTICS = "LICENSE", "CITATION.cff", "stats.html"
RAI = "http://mlcommons.org/croissant/RAI/1.0"


def license_note(card: Card, about: About) -> str:
    """LICENSE: the licences of the images, and that of the table."""
    listed = [
        f"- {each.id}: {counted(card.licenses[each.id], 'images')}{f', {each.url}' if each.url else ''}"
        for each in card.values
    ]
    credited = sum(card.licenses[each.id] for each in card.values if each.attribution)
    table = about.dataset.license or OPEN.format("the licence of the table itself")
    return "\n".join(
        [
            f"{card.name}: licences",
            "",
            "Each image has the licence that its row states in the columns license and license_url. No other",
            "licence applies to it, and none applies to all images.",
            "",
            *listed,
            "",
            "A work that adapts all of them, such as a model by a careful reading: "
            f"{combine(card.values, allow_no_derivatives=True).message}.",
            "",
            f"{counted(credited, 'images')} have a licence that demands credit. credits.csv has the credit of each, as",
            "one line that can be shown.",
            "",
            f"The table itself (the selection, and texts that the publisher added): {table}.",
            "",
            "This is not legal advice.",
            "",
        ]
    )


def citation(card: Card, about: About, facts: Mapping[str, Any]) -> str:
    """CITATION.cff (https://github.com/citation-file-format/citation-file-format, 1.2.0)."""
    authors = about.dataset.authors or (about.provider or OPEN.format("authors"),)
    fields = {
        "cff-version": "1.2.0",
        "message": "If you use this data set, please cite it, and credit its images as credits.csv says.",
        "type": "dataset",
        "title": card.name,
        "authors": [{"name": name} for name in authors],
        "version": _version(card, about),
        "date-released": facts["date"],
        "doi": about.dataset.doi,
        "url": about.dataset.url,
        "abstract": f"{card.images} by {counted(card.people, 'creators')}, each credited.",
        "keywords": ["images", "Creative Commons", "text-to-image"],
    }
    given = {name: value for name, value in fields.items() if value}
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=1000)


def more(card: Card, about: About, facts: Mapping[str, Any], answers: Answers, folder: Path) -> More:
    """What the card and Croissant say of a release."""
    header: dict[str, Any] = {"annotations_creators": _annotators(facts)}
    if any(hub_licenses([each]) == "other" for each in card.values):
        header |= {"license_name": "licence-of-each-image", "license_link": LICENSE}
    mlc = load_mlcroissant()
    ctx = mlc.Context(conforms_to=VERSION)
    publisher = [mlc.Organization(ctx=ctx, name=about.provider)] if about.provider else []
    known = {
        "conforms_to": [VERSION, RAI],
        "url": about.dataset.url,
        "creators": [mlc.Person(ctx=ctx, name=name) for name in about.dataset.authors] or publisher,
        "publisher": publisher,
        "version": _version(card, about),
        "keywords": ["images", "Creative Commons", "text-to-image"],
        **rai(answers, facts),
    }
    times = facts["timeframe"]
    return More(
        header=header,
        intro=_intro(about),
        sections=_sections(about, facts),
        croissant={name: value for name, value in known.items() if value},
        # mlcroissant 1.1.1 writes dataCollectionTimeFrame, which the vocabulary doesn't have.
        jsonld={"rai:dataCollectionTimeframe": "/".join(times)} if times else {},
        files={REMOVED: described(folder / REMOVED)},
    )


def _annotators(facts: Mapping[str, Any]) -> list[str]:
    by = {"found": facts["filled"].get("label"), "machine-generated": facts["filled"].get("caption")}
    return [name for name, count in by.items() if count] or ["no-annotation"]


def _version(card: Card, about: About) -> str:
    return about.dataset.version or f"{card.version}.0.0"


def _intro(about: About) -> str:
    """Who publishes the data set, and the licence of its table, if they are known."""
    parts = []
    if about.provider:
        contact = f" ({markdown_link(about.contact)})" if about.contact else ""
        parts.append(f"Published by {markdown_cell(about.provider)}{contact}.")
    if about.dataset.license:
        parts.append(
            f"The table itself, without the images, is under {markdown_cell(about.dataset.license)}."
        )
    return " ".join(parts)


def _sections(about: About, facts: Mapping[str, Any]) -> str:
    where = f"Ask {markdown_link(about.contact)}" if about.contact else "Ask the publisher"
    since = (
        f" {counted(facts['removed_since'], 'images')} of the former release were taken down since."
        if facts["since"]
        else ""
    )
    return _SECTIONS.format(
        datasheet=DATASHEET,
        statistics=STATISTICS,
        citation=CITATION,
        sums=SUMS,
        removed=REMOVED,
        words=_words(facts),
        where=where,
        since=since,
    )


def _words(facts: Mapping[str, Any]) -> str:
    """How many rows have a text, and one by a model."""
    rows, words = facts["rows"], facts["words"]
    text, caption = (
        f"{words[name]:,} of {counted(rows, 'images')} ({percent(ratio(words[name], rows))})"
        for name in ("text", "caption")
    )
    made = f"{caption} have a caption by a model" if words["caption"] else "No image has a caption by a model"
    return f"{text} have a text (`text`). {made}."


_SECTIONS = """
{words}

`{datasheet}` answers the questions of Datasheets for Datasets. `{statistics}` has figures and plots.
`{citation}` says how to cite. `sha256sum --check {sums}` checks the files.

## Removed images

{where} to have an image removed.{since}
`{removed}` lists what was taken down so far, as hashes that name no image to anyone who doesn't have it. If you hold
an older copy, delete these rows from it:

```python
import hashlib
import pandas

removed = set(pandas.read_parquet("{removed}")["key"])


def is_removed(row):
    key = f"{{row['image_id']}}\\n{{row['sha256'] or ''}}"
    return hashlib.sha256(key.encode()).hexdigest() in removed
```

With `datasets`: `images.filter(lambda row: not is_removed(row))`. In WebDataset shards, `row` is the sample's JSON.
Or copy `{removed}` into the older folder: `commoncanvas release check FOLDER` names the rows that it lists.
"""
