"""Section 2 of the EU's summary of training content: the list of data sources by their kinds."""

from __future__ import annotations

import math
from typing import Any

from commoncanvas.catalog.fetching.download import PURPOSE
from commoncanvas.catalog.fetching.hosts import LONGEST_WAIT_S
from commoncanvas.core.text import counted
from commoncanvas.provenance.markdown import last_part
from commoncanvas.release.about import About, to_fill_in
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers.facts import DataFacts, part_license
from commoncanvas.release.papers.sources import Origin, origins, unsaid

Answers = dict[str, str | list[str] | dict[str, int]]
"""Question -> answer: a text, a list, or counts by name."""
DOMAINS = "EU-training-domains.csv"
SHOWN_DOMAINS = 20
"""Most domains in the document. If there are more, DOMAINS has all that the template asks for."""
SHARE, SHARE_SMALL, MOST_SMALL = 0.10, 0.05, 1000
"""Share of the domains to list; for small firms this share, or this many if they are fewer."""


def data_sources(model: ModelFolder, about: About, facts: DataFacts) -> dict[str, Answers]:
    """Heading -> answers, in the template's order."""
    found = origins(facts.sources, about)
    return {
        "2.1. Publicly available datasets": _public(found),
        "2.2. Private non-publicly available datasets obtained from third parties": {
            "2.2.1. Datasets commercially licensed by rightsholders or their representatives": _of_kind(
                found, "licensed"
            ),
            "2.2.2. Private datasets obtained from other third parties": _of_kind(found, "private"),
        },
        "2.3. Data crawled and scraped from online sources": _crawled(model, about, facts, found),
        "2.4. User data": {
            "Was data from user interactions with the model or with other services used": about.say(
                "user_data"
            ),
            "Sources": _of_kind(found, "users"),
        },
        "2.5. Synthetic data": _synthetic(model, facts, found),
        "2.6. Other sources of data": {
            "Sources": _of_kind(found, "other"),
            "Sources whose kind is not known": unsaid(found) or "none",
        },
    }


def top_domains(hosts: dict[str, int], about: About) -> dict[str, int]:
    """The share of the domains that the template asks for, those with the most images first."""
    count = math.ceil((SHARE_SMALL if about.small_firm else SHARE) * len(hosts))
    if about.small_firm:
        count = min(count, MOST_SMALL)
    return dict(list(hosts.items())[:count])


def _total(found: list[Origin]) -> int:
    return sum(each.images for each in found)


def _of_kind(found: list[Origin], kind: str) -> str | list[str]:
    """The sources of one kind; `no` only if the kinds of all are known."""
    lines = [each.line(_total(found)) for each in found if each.kind == kind]
    if lines:
        return lines
    return to_fill_in("the kinds of the sources in 2.6") if unsaid(found) else "no"


def _public(found: list[Origin]) -> Answers:
    listed = _of_kind(found, "public")
    return {
        "Were publicly available datasets used": "yes" if isinstance(listed, list) else listed,
        "Modalities": "image, text" if isinstance(listed, list) else "none",
        "Datasets": listed,
    }


def _crawled(model: ModelFolder, about: About, facts: DataFacts, found: list[Origin]) -> Answers:
    own = _of_kind(found, "crawled")
    crawled = own if isinstance(own, list) else []
    if facts.unknown:
        return {
            "Were crawlers used": f"not known here: {facts.unknown}",
            "Period of data collection": _period(model, about, facts),
            **({"Sources": crawled} if crawled else {}),
        }
    if not facts.hosts and not crawled:
        return {"Were crawlers used": "no: no training image has a web address"}
    images = sum(facts.hosts.values())
    top = top_domains(facts.hosts, about)
    listed = f"{len(top):,} of {counted(len(facts.hosts), 'domains')}"
    whole = (
        f"top {SHARE_SMALL:.0%} for a small firm, at most {MOST_SMALL:,}"
        if about.small_firm
        else f"top {SHARE:.0%}"
    )
    version = model.record.get("parts", {}).get("commoncanvas", "version not recorded")
    contact = about.say("crawler_contact")
    return {
        "Were crawlers used": f"yes, as far as images were not part of a dataset: {counted(images, 'images')} have a "
        "web address from which they can be downloaded. The catalog does not record which of them came with a dataset",
        "Crawler names": f"commoncanvas/{version}, the fetcher of CommonCanvas; contact sent to servers: {contact}",
        "Purpose": PURPOSE,
        "Behaviour": [
            "it downloads only the addresses that the sources list; it follows no links and reads no pages",
            "it does not read robots.txt, because it does not search sites",
            "it stores no image whose server sends X-Robots-Tag noai or noimageai, for everyone or for commoncanvas",
            "it keeps no cookies, has no accounts, and does not pass captchas or paywalls",
            "it waits when a server asks for it (Retry-After), "
            f"and leaves a host alone that asks for more than {LONGEST_WAIT_S:.0f} s",
            "it limits its connections to each host",
        ],
        "Period of data collection": _period(model, about, facts),
        "Content and sources": [
            f"{name}: {counted(count, 'images')} with a web address" for name, count in facts.from_web.items()
        ]
        + crawled,
        "Modalities": "image, text",
        f"Most relevant domain names ({whole}; {listed}, by images)": dict(list(top.items())[:SHOWN_DOMAINS]),
        **({"All of these domains": DOMAINS} if len(top) > SHOWN_DOMAINS else {}),
    }


def _period(model: ModelFolder, about: About, facts: DataFacts) -> str:
    trained = _month(model.record.get("created"))
    if about.collected_from and about.collected_until:
        return f"{_turned(about.collected_from)} to {_turned(about.collected_until)}"
    imported = [f"{each.source} {_month(each.date)}" for each in facts.imports]
    said = f"imports: {', '.join(dict.fromkeys(imported))}; " if imported else ""
    absent = [name for name in ("collected_from", "collected_until") if getattr(about, name) is None]
    asked = ", ".join(map(to_fill_in, absent))
    return f"{said}until {trained} at the latest, when the model was trained. {asked}"


def latest_collection(model: ModelFolder, about: About) -> str:
    """The last month of data collection, MM/YYYY."""
    if about.collected_until:
        return _turned(about.collected_until)
    return f"{_month(model.record.get('created'))} at the latest: the model was trained then"


def _month(date: Any) -> str:
    """An ISO date as MM/YYYY."""
    text = str(date or "")
    return _turned(text[:7]) if len(text) >= 7 else "(date not recorded)"


def _turned(month: str) -> str:
    year, _, number = month.partition("-")
    return f"{number}/{year}"


def _synthetic(model: ModelFolder, facts: DataFacts, found: list[Origin]) -> Answers:
    images = _of_kind(found, "synthetic")
    captioners = [part for part in model.record["built_on"] if part["role"] == "captioner"]
    texts = sum(facts.texts.get(column, 0) for column in written_columns(model, facts))
    if not captioners and not texts:
        return {
            "Was synthetic data used": "no texts by a model; images: "
            + (images if isinstance(images, str) else "yes"),
            **({"Synthetic images": images} if isinstance(images, list) else {}),
        }
    mixed = isinstance(model.record["recipe"]["data"]["text"], dict)
    count = f"{counted(texts, 'captions')} of {sum(facts.texts.values()):,} texts were written by a model"
    drawn = "training draws the text of an image anew in each epoch, also from captions by a model"
    return {
        "Was synthetic data used": f"yes: {drawn if mixed else count}; images: "
        + (images if isinstance(images, str) else "yes"),
        "Modalities": "text" if isinstance(images, str) else "text, image",
        "Models that wrote captions": [_part(each) for each in captioners]
        or [info.model for info in facts.written_by.values()],
        **({"Synthetic images": images} if isinstance(images, list) else {}),
    }


def written_columns(model: ModelFolder, facts: DataFacts) -> list[str]:
    """Text columns of the training that a model wrote. Without catalogs: `caption`, if a captioner is recorded."""
    if not facts.unknown:
        return [column for column in facts.texts if column in facts.written_by]
    captioned = any(part["role"] == "captioner" for part in model.record["built_on"])
    return [column for column in facts.texts if captioned and column.startswith("caption")]


def _part(part: dict[str, Any]) -> str:
    learned = part["origin"]
    data = (
        f"it learned from {counted(learned['rows']['train'], 'images')} under {', '.join(learned['licenses'])}"
        if learned
        else "its training data is not recorded"
    )
    return f"{last_part(part['model'])}, licence {part_license(part)}; {data}"
