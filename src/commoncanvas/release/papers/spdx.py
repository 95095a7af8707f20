"""spdx.json: the model, its data sets and its parts as an SPDX 3.0.1 document with the AI and Dataset profiles.

It is JSON-LD with SPDX's own context (https://spdx.github.io/spdx-spec/v3.0.1/). The two profiles need properties that
only the provider knows; a missing answer is said in their place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.compute as pc

from commoncanvas.core.files import replace_json
from commoncanvas.core.text import clean, counted
from commoncanvas.models.card import UNKNOWN
from commoncanvas.provenance.digests import file_sha256
from commoncanvas.provenance.folder import ROWS
from commoncanvas.provenance.markdown import last_part
from commoncanvas.provenance.passed_on import authors
from commoncanvas.release.about import About
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.papers.facts import curated, data_facts, part_license
from commoncanvas.release.papers.run_facts import evaluation_of
from commoncanvas.release.papers.spdx_licenses import expression, spdx_id

NAME = "spdx.json"
CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NOWHERE = "NOASSERTION"
"""The place of what is not published, or not known to be."""
INFO = "_:creationInfo"
_REFERENCE = re.compile(r"LicenseRef-[\w.-]+")

Element = dict[str, Any]


def write(model: ModelFolder, out: Path, about: About) -> None:
    """Write the document. Raises ModelError."""
    made = Document(model, about, out)
    replace_json(out / NAME, {"@context": CONTEXT, "@graph": made.graph()})


class Document:
    """The elements of one document; each has an id in the document's namespace."""

    def __init__(self, model: ModelFolder, about: About, out: Path) -> None:
        self.record = model.record
        self.trained = model.trained
        self.about = about
        self.facts = data_facts(model)
        self.left_out = curated(model)
        self.evaluation = evaluation_of(model, out)
        self.rows_sha256 = file_sha256(out / ROWS) if (out / ROWS).is_file() else None
        digest = hashlib.sha256(json.dumps(self.record["weights"], sort_keys=True).encode()).hexdigest()
        self.namespace = f"urn:commoncanvas:{quote(self.record['name'], safe='')}:{digest[:16]}:"
        self.released = _time(str(about.released) if about.released else self.record.get("created"))
        self.elements: list[Element] = []

    def graph(self) -> list[Element]:
        """All elements, the document first."""
        provider = self._add("Organization", "provider", name=self.about.say("provider"))
        model = self._model(provider)
        for number, part in enumerate(self.record["built_on"]):
            self._relate(model, "dependsOn", self._part(number, part))
        for name, source in self.record["catalogs"].items():
            data = self._catalog(name, source)
            self._relate(model, "trainedOn", data)
            if self.evaluation and source["rows"]["heldout"]:
                self._relate(model, "testedOn", data)
        info = {
            "type": "CreationInfo",
            "@id": INFO,
            "specVersion": "3.0.1",
            "created": f"{datetime.now(UTC):%Y-%m-%d}T00:00:00Z",  # to the day, as the other documents
            "createdBy": [provider],
        }
        document = {
            "type": "SpdxDocument",
            "spdxId": f"{self.namespace}document",
            "creationInfo": INFO,
            "name": f"{self.about.model or self.record['name']}: model, data and parts",
            "profileConformance": ["core", "software", "simpleLicensing", "ai", "dataset"],
            "rootElement": [model],
            "element": [element["spdxId"] for element in self.elements],
        }
        return [info, document, *self.elements]

    def _model(self, provider: str) -> str:
        record, about = self.record, self.about
        figures = (self.evaluation or {}).get("figures", {})
        model = self._add(
            "ai_AIPackage",
            "model",
            name=about.model or record["name"],
            software_packageVersion=about.say("version"),
            software_primaryPurpose="model",
            software_downloadLocation=about.place("published") or NOWHERE,
            releaseTime=self.released,
            suppliedBy=provider,
            ai_typeOfModel=[f"{record['task']} model"],
            ai_domain=[about.sector] if about.sector else None,
            ai_informationAboutTraining=f"{counted(record['rows']['train'], 'images')}, "
            f"{counted(record['training']['steps'], 'steps')}, seed {record['seed']}; provenance.json has the recipe",
            ai_informationAboutApplication=about.intended_use,
            ai_limitation=about.limits,
            ai_hyperparameter=[
                _entry(name, record["recipe"]["train"][name])
                for name in ("steps", "batch_size", "learning_rate", "weight_decay", "precision")
            ],
            ai_metric=[_entry(name, value) for name, value in figures.items() if value is not None] or None,
        )
        license = record["result_license"]
        self._license(model, spdx_id(license) if license else "LicenseRef-no-common-licence")
        for number, (name, digest) in enumerate(sorted(record["weights"].items())):
            file = self._add(
                "software_File",
                f"weights-{number}",
                name=name,
                software_primaryPurpose="model",
                verifiedUsing=[_hash(digest)],
            )
            self._relate(model, "contains", file)
        return model

    def _catalog(self, name: str, source: Mapping[str, Any]) -> str:
        rows = source["rows"]
        licenses = pc.unique(self.trained.filter(pc.equal(self.trained["catalog"], name))["license"])
        origin = self._add("Agent", f"creators-{name}", name="the creators that credits.csv names")
        data = self._add(
            "dataset_DatasetPackage",
            f"data-{name}",
            name=clean(last_part(source["uri"])) or name,
            software_packageVersion=str(source["version"]),
            software_primaryPurpose="data",
            software_downloadLocation=self.about.place("data") or NOWHERE,
            builtTime=_time(self.record.get("created")),
            releaseTime=self.released,
            originatedBy=[origin],
            dataset_datasetType=["image", "text"] if self.facts.texts else ["image"],
            dataset_dataCollectionProcess=f"rows of the catalog that meet: {source['filter']}",
            dataset_dataPreprocessing=[f"left out: {words}" for words in self.left_out] or None,
            dataset_intendedUse=f"{counted(rows['train'], 'images')} to train on, {rows['heldout']:,} held out",
            verifiedUsing=[_hash(self.rows_sha256)] if self.rows_sha256 else None,
            comment="The hash is that of rows.parquet, which names each image." if self.rows_sha256 else None,
        )
        self._license(data, expression(sorted(licenses.to_pylist())))
        return data

    def _part(self, number: int, part: Mapping[str, Any]) -> str:
        name = clean(last_part(part["model"])) or part["role"]
        made = self._add(
            "software_Package",
            f"part-{number}-{part['role']}",
            name=f"{name} ({part['role'].replace('_', ' ')})",
            software_primaryPurpose="model",
            verifiedUsing=[_hash(part["sha256"])] if _is_sha256(part["sha256"]) else None,
            software_attributionText=[f"by {who}"] if (who := authors(part)) != UNKNOWN else None,
            comment="The hash is that of the weights, as CommonCanvas computes it over their tensors.",
        )
        self._license(made, expression(part_license(part).split(", ")))
        return made

    def _license(self, of: str, text: str) -> None:
        """Declare `text`, an SPDX expression, as the licence of an element. Names that SPDX lacks are spelled out."""
        refs = {ref: self._id(ref) for ref in _REFERENCE.findall(text)}
        for ref in refs:
            if not self._has(ref):
                words = ref.removeprefix("LicenseRef-")
                self._add("simplelicensing_SimpleLicensingText", ref, simplelicensing_licenseText=words)
        name = f"license-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        if not self._has(name):
            self._add(
                "simplelicensing_LicenseExpression",
                name,
                simplelicensing_licenseExpression=text,
                simplelicensing_customIdToUri=[_entry(ref, uri) for ref, uri in refs.items()] or None,
            )
        for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
            self._relate(of, kind, self._id(name))

    def _relate(self, one: str, kind: str, other: str) -> None:
        number = sum(element["type"] == "Relationship" for element in self.elements)
        self._add(
            "Relationship", f"relationship-{number}", to=[other], relationshipType=kind, **{"from": one}
        )

    def _add(self, type: str, key: str, /, **properties: Any) -> str:
        """Add an element, whose id ends with `key`, without its empty properties; returns its id."""
        made = {"type": type, "spdxId": self._id(key), "creationInfo": INFO}
        self.elements.append(made | {name: value for name, value in properties.items() if value is not None})
        return self._id(key)

    def _id(self, name: str) -> str:
        return self.namespace + quote(name, safe="")

    def _has(self, name: str) -> bool:
        return any(element["spdxId"] == self._id(name) for element in self.elements)


def _entry(key: str, value: object) -> Element:
    return {"type": "DictionaryEntry", "key": key, "value": str(value)}


def _hash(digest: str) -> Element:
    return {"type": "Hash", "algorithm": "sha256", "hashValue": digest}


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{64}", text) is not None


def _time(date: str | None) -> str:
    """An ISO date or time as SPDX writes it: UTC, in seconds. Without one, the epoch."""
    if not date:
        return "1970-01-01T00:00:00Z"
    moment = datetime.fromisoformat(date)
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
