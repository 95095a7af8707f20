"""mof.yml and openness.md: the class of the Model Openness Framework that a release reaches, what the next one lacks.

The components, their classes and the licences that count as open are those of the Model Openness Tool
(https://github.com/lfai/model_openness_tool: config/install/mof.settings.yml, LicenseHandler.php); mof.yml has the form
of its schema/mof_schema.json. The framework: arXiv 2403.13784.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from commoncanvas.core.files import replace_text
from commoncanvas.core.text import markdown_text
from commoncanvas.provenance.digests import WEIGHTS
from commoncanvas.provenance.markdown import last_part, templates
from commoncanvas.provenance.model_card import CARD, EVALUATION
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers import eu_summary, technical_report

NAME, PAGE = "mof.yml", "openness.md"
CODE_LICENSE = "Apache-2.0"
"""The licence of CommonCanvas, of diffusers, and of the app that `space` writes."""
CLASSES = {
    3: "Class III - Open Model",
    2: "Class II - Open Tooling Model",
    1: "Class I - Open Science Model",
    0: "no class",
}
OPEN = frozenset(
    """Apache-2.0 MIT BSD-2-Clause BSD-3-Clause OpenMDW-1.0 CC0-1.0 CC-PDDC CDLA-Permissive-1.0 CDLA-Permissive-2.0
    CDLA-Sharing-1.0 CC-BY-1.0 CC-BY-2.0 CC-BY-2.5 CC-BY-2.5-AU CC-BY-3.0 CC-BY-3.0-AT CC-BY-3.0-AU CC-BY-3.0-DE
    CC-BY-3.0-IGO CC-BY-3.0-NL CC-BY-3.0-US CC-BY-4.0 CC-BY-SA-1.0 CC-BY-SA-2.0 CC-BY-SA-2.0-UK CC-BY-SA-2.1-JP
    CC-BY-SA-2.5 CC-BY-SA-3.0 CC-BY-SA-3.0-AT CC-BY-SA-4.0""".split()  # noqa: SIM905
)
"""Licences that may appear in a release and that the tool counts as open."""


@dataclass(frozen=True)
class Component:
    """A component of the framework. `needed`: whether its class and the classes above need it."""

    name: str
    kind: Literal["code", "data", "document"]
    level: int
    needed: bool = True


COMPONENTS = {
    "architecture": Component("Model architecture", "code", 3),
    "preprocessing": Component("Data preprocessing code", "code", 1),
    "training": Component("Training code", "code", 2),
    "inference": Component("Inference code", "code", 2),
    "evaluation_code": Component("Evaluation code", "code", 2),
    "libraries": Component("Supporting libraries and tools", "code", 2, needed=False),
    "weights": Component("Model parameters (Final)", "data", 3),
    "checkpoints": Component("Model parameters (Intermediate)", "data", 1),
    "data": Component("Datasets", "data", 1),
    "evaluation_data": Component("Evaluation data", "data", 2),
    "metadata": Component("Model metadata", "data", 1, needed=False),
    "samples": Component("Sample model outputs", "document", 3, needed=False),
    "model_card": Component("Model card", "document", 3),
    "data_card": Component("Data card", "document", 3),
    "report": Component("Technical report", "document", 3),
    "paper": Component("Research paper", "document", 1),
    "results": Component("Evaluation results", "document", 3),
}
CODE = "answer code: the address of the source code"
EVALUATE = "add the folder of commoncanvas evaluate to the release, as evaluation/"
REMEDIES = {
    "preprocessing": CODE,
    "training": CODE,
    "evaluation_code": CODE,
    "checkpoints": "add intermediate checkpoints to the release, as checkpoints/",
    "data": "publish the training images, and answer data: their address",
    "evaluation_data": "publish the images, also those held out, and answer data: their address",
    "paper": "publish a paper, and answer paper: its address",
    "results": EVALUATE,
    "report": "write technical-report.md into the release",
    "data_card": "write EU-training-summary.md into the release",
}
REAL = "-real.png"
"""End of the names of the real images beside the generated ones of an evaluation."""
CHECKPOINTS = "checkpoints"
"""Folder of a release with weights from before the end of the training."""


@dataclass(frozen=True)
class Part:
    """A component that the release has: its licence (None: no one has given one) and where it is."""

    license: str | None
    place: str

    @property
    def open(self) -> bool:
        return self.license in OPEN


def write(model: ModelFolder, out: Path, about: About) -> None:
    """Write the tool's YAML and a page. What counts is what is in `out`, so the other documents come first."""
    parts = included(model, out, about)
    reached = reached_class(parts)
    release = _release(model, about, parts)
    replace_text(out / NAME, yaml.safe_dump(release, sort_keys=False, allow_unicode=True, width=100))
    made = templates("commoncanvas.release.papers")
    made.filters["plain"] = markdown_text
    page = made.get_template("openness.md.j2").render(
        name=about.model or model.record["name"],
        reached=CLASSES[reached],
        next=CLASSES[reached - 1 if reached else 3] if reached != 1 else None,
        lacks=lacks(parts, reached - 1 if reached else 3) if reached != 1 else {},
        components={component.name: (parts.get(key), component) for key, component in COMPONENTS.items()},
    )
    replace_text(out / PAGE, page)


def included(model: ModelFolder, out: Path, about: About) -> dict[str, Part]:
    """The components that the release in `out` has, by their keys in COMPONENTS."""
    weights = model.record["result_license"]
    places = ["unet/config.json", "transformer/config.json"]
    if model.record["task"] == "autoencoder":
        places = ["config.json"]
    network = next((each for each in places if (out / each).is_file()), None)
    found: dict[str, Part | None] = {
        "architecture": Part(CODE_LICENSE, network) if network else None,
        "weights": Part(weights, ".") if any(out.rglob(f"*{WEIGHTS}")) else None,
        "checkpoints": Part(weights, CHECKPOINTS) if any((out / CHECKPOINTS).rglob(f"*{WEIGHTS}")) else None,
        "data": Part(weights, about.place("data") or "") if about.data else None,
        "evaluation_data": _evaluation_data(out, about, weights),
        "metadata": Part(weights, RECORD),
        "inference": Part(CODE_LICENSE, "space/app.py") if (out / "space" / "app.py").is_file() else None,
        "samples": _file(out, "evaluation/seen.jpg", weights),
        "model_card": Part(about.document_license, CARD),  # every release has one
        "data_card": _file(out, f"{eu_summary.NAME}.md", about.document_license),
        "report": _file(out, technical_report.NAME, about.document_license),
        "paper": Part(about.document_license, about.paper) if about.paper else None,
        "results": _file(out, EVALUATION.as_posix(), about.document_license),
    }
    if about.code:
        for key in ("preprocessing", "training", "evaluation_code", "libraries"):
            found[key] = Part(CODE_LICENSE, about.code)
        found["inference"] = found["inference"] or Part(CODE_LICENSE, about.code)
    return {key: part for key in COMPONENTS if (part := found.get(key))}


def reached_class(parts: Mapping[str, Part]) -> int:
    """3, 2 or 1, the highest class that lacks nothing; 0 if class III lacks something."""
    reached = 0
    for level in (3, 2, 1):
        if lacks(parts, level):
            break
        reached = level
    return reached


def lacks(parts: Mapping[str, Part], level: int) -> dict[str, str]:
    """Component -> what to do, of all that a class needs and the release lacks, as the tool's evaluator counts.

    A paper stands in for the technical report.
    """
    found = {}
    for key, component in COMPONENTS.items():
        if not component.needed or component.level < level:
            continue
        part = parts.get("paper" if key == "report" and "report" not in parts else key)
        if part is None:
            found[component.name] = f"missing; {REMEDIES.get(key, 'add it to the release')}"
        elif part.license is None and component.kind == "document":
            found[component.name] = "without a licence; answer document_license, such as CC-BY-4.0"
        elif part.license is None:
            found[component.name] = "the licences of the images can't be combined into one"
        elif not part.open:
            found[component.name] = f"its licence, {part.license}, is not open for the framework"
    return found


def _evaluation_data(out: Path, about: About, license: str | None) -> Part | None:
    """The real images of the evaluation's prompts: among the published images, or in the release."""
    if about.data:
        return Part(license, about.place("data") or "")
    folder = EVALUATION.parent
    return Part(license, folder.as_posix()) if any((out / folder).rglob(f"*{REAL}")) else None


def _file(out: Path, name: str, license: str | None) -> Part | None:
    return Part(license, name) if (out / name).is_file() else None


def _release(model: ModelFolder, about: About, parts: Mapping[str, Part]) -> dict[str, Any]:
    """The content of mof.yml."""
    record = model.record
    date = about.released.isoformat() if about.released else str(record.get("created", ""))[:10]
    init = [last_part(part["model"]) for part in record["built_on"] if part["role"] == "init"]
    components = [
        {
            "name": COMPONENTS[key].name,
            "license": part.license or "unlicensed",
            "component_path": part.place,
        }
        for key, part in parts.items()
    ]
    return {
        "framework": {"name": "Model Openness Framework", "version": "1.0", "date": "2024-12-15"},
        "release": {
            "name": about.model or record["name"],
            "version": about.version or "",
            "date": date,
            "license": {"distribution": {"name": record["result_license"], "path": None}},
            "type": "image",
            "architecture": "diffusion" if record["task"] == "diffusion" else "other",
            "treatment": "pre-trained",
            "origin": ", ".join(init),
            "producer": about.say("provider"),
            "contact": about.contact or "",
            "repository": about.code or "",
            "huggingface": f"https://huggingface.co/{about.hub_id}" if about.hub_id else "",
            "components": components,
        },
    }
