"""The documents of a release that its record fills: model card, licence, citation, results for the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from commoncanvas import licenses
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import counted
from commoncanvas.models.hub import HUB
from commoncanvas.provenance.hub import Published, eval_results
from commoncanvas.provenance.model_card import read_evaluation, write_card
from commoncanvas.provenance.passed_on import authors, by_others
from commoncanvas.release.about import About
from commoncanvas.release.model.parts import NAME as THIRD_PARTY
from commoncanvas.release.model.parts import write as write_parts
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers import PAPERS

LICENSE, CITATION, RESULTS = "LICENSE", "CITATION.cff", ".eval_results/commoncanvas.yaml"
PAPER = {
    "type": "conference-paper",
    "title": "CommonCanvas: An Open Diffusion Model Trained With Creative-Commons Images",
    "authors": [
        {"given-names": given, "family-names": family}
        for given, family in (
            ("Aaron", "Gokaslan"),
            ("A. Feder", "Cooper"),
            ("Jasmine", "Collins"),
            ("Landan", "Seguin"),
            ("Austin", "Jacobson"),
            ("Mihir", "Patel"),
            ("Jonathan", "Frankle"),
            ("Cory", "Stephenson"),
            ("Volodymyr", "Kuleshov"),
        )
    ],
    "collection-title": "CVPR",
    "conference": {"name": "CVPR"},
    "year": 2024,
    "url": "https://arxiv.org/abs/2310.16825",
}


def write_documents(model: ModelFolder, out: Path, published: Published, about: About) -> None:
    """Write all documents into `out`, the model card last. `model`: the release itself, without places of this machine;
    its catalogs are still found.
    """
    record = model.record
    replace_text(out / LICENSE, _license(record))
    if published.owner:
        replace_text(out / CITATION, _yaml(_citation(record, published)))
    if entries := eval_results(read_evaluation(out), published):
        (out / RESULTS).parent.mkdir(exist_ok=True)
        replace_text(out / RESULTS, _yaml(entries))
    write_parts(record, out)
    for write in PAPERS:
        write(model, out, about)
    write_card(out, record["name"], published)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _license(record: dict[str, Any]) -> str:
    """The licence with its reason: the licences of the images and of the models in it."""
    license = licenses.parse(record["result_license"]) if record["result_license"] else None
    lines = [
        f"{record['name']}: {license.name if license else 'no single licence'}",
        *([license.url] if license and license.url else []),
        "",
        f"The licence follows from those of the images: {record['result_license_note']}.",
        "",
        *(f"{counted(count, 'images')} under {name}" for name, count in record["licenses"].items()),
    ]
    for part in record["built_on"]:
        origin = part["origin"]
        why = f"learned from images under {', '.join(origin['licenses'])}" if origin else _stated(part)
        lines.append(f"{part['role'].replace('_', ' ')} {part['model']}: {why}")
    lines += ["", "credits.csv names the creator of each image; pass it on with the model."]
    if by_others(record):
        lines.append(f"{THIRD_PARTY} and licenses/ are for the parts by others; pass them on too.")
    return "\n".join([*lines, ""])


def _stated(part: dict[str, Any]) -> str:
    return f"{part['license']}, by {authors(part)}"


def _citation(record: dict[str, Any], published: Published) -> dict[str, Any]:
    """CITATION.cff (https://github.com/citation-file-format/citation-file-format, 1.2.0)."""
    found: dict[str, Any] = {
        "cff-version": "1.2.0",
        "message": "Please cite this model, and the paper whose method made it.",
        "type": "software",
        "title": record["name"],
        "authors": [{"name": published.owner}],
        "date-released": record["created"][:10],
    }
    if published.repo:
        found["url"] = f"{HUB}/{published.repo}"
    if license := record["result_license"]:
        found["license"] = license
    return found | {"references": [PAPER]}
