"""What hubs read of a model: the metadata of its card, and the results of its evaluation with how they were measured.

The metadata: https://huggingface.co/docs/hub/model-cards. The results: https://huggingface.co/docs/hub/eval-results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from commoncanvas import licenses
from commoncanvas.catalog.export.data_card import HUB_LICENSES
from commoncanvas.models.hub import HUB, HUB_ID, in_cache
from commoncanvas.models.packaged import PACKAGED
from commoncanvas.provenance.passed_on import IN_WEIGHTS

SPLITS = {"seen": "train", "heldout": "heldout"}
METRICS = {
    "retrieval": "Retrieval of the prompt's own image",
    "fd": "Fréchet distance to the real images",
    "kd": "Kernel distance (MMD²) to the real images",
    "roundtrip_cosine": "Cosine of the prompt and the caption of its image",
}
NOTES = {
    "prompts": "{:,} prompts",
    "prompts_sha256": "sha256 {:.16}",
    "seeds_sha256": "seeds {:.16}",
    "sampler": "{}",
    "steps": "{} steps",
    "guidance_scale": "guidance {:g}",
    "size": "{} pixels",
    "features": "features of {}",
    "features_sha256": "sha256 {:.16}",
    "scorer": "scorer {}",
    "scorer_revision": "revision {:.16}",
    "digest": "fingerprint {:.16}",
}


@dataclass(frozen=True)
class Published:
    """How a model is published. `repo`, `data`: ids of the hub, `owner/name`, of the model and of the data that it
    learned from. The others are the provider's own words. None: not known.
    """

    repo: str | None = None
    data: str | None = None
    provider: str | None = None
    contact: str | None = None
    intended_use: str | None = None
    out_of_scope: str | None = None
    limits: str | None = None

    @property
    def owner(self) -> str | None:
        return self.provider or (self.repo.partition("/")[0] if self.repo else None)

    @property
    def reach(self) -> str | None:
        """Where people can write to the publisher: the provider's contact, or the model's page on the hub."""
        return self.contact or (f"{HUB}/{self.repo}/discussions" if self.repo else None)


UNPUBLISHED = Published()


def license_fields(record: Mapping[str, Any]) -> dict[str, str]:
    """`license`, and if that isn't one of the hub's ids, its name and where its text is."""
    stated: str | None = record["result_license"]
    id = (stated or "").lower()
    if id in HUB_LICENSES:
        return {"license": id}
    url = licenses.parse(stated).url if stated else None
    return {
        "license": "other",
        "license_name": id or "no-single-license",
        "license_link": url or "LICENSE",
    }


def metadata(
    record: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None = None,
    published: Published = UNPUBLISHED,
) -> dict[str, Any]:
    """The metadata at the beginning of a model card. `evaluation`: evaluation.json."""
    found: dict[str, Any] = license_fields(record)
    if record["task"] != "captioner":
        found["library_name"] = "diffusers"
    if record["task"] == "diffusion":
        found["pipeline_tag"] = "text-to-image"
    found["tags"] = ["commoncanvas", "creative-commons"]
    if published.data:
        found["datasets"] = [published.data]
    if base := _base_models(record):
        found["base_model"] = list(base)
        if "init" in base.values():
            found["base_model_relation"] = "finetune"
    if results := list(_results(record, evaluation or {}, published)):
        found["model-index"] = [{"name": published.repo or record["name"], "results": results}]
    return found


def _base_models(record: Mapping[str, Any]) -> dict[str, str]:
    """Hub id -> role of each model on the hub that is in the weights. A model of ours is on the hub if the hub's cache
    has it; otherwise its name is that of a folder.
    """
    return {
        part["model"]: part["role"]
        for part in record["built_on"]
        if part["role"] in IN_WEIGHTS
        and part["model"] not in PACKAGED
        and "/" in part["model"]
        and HUB_ID.fullmatch(part["model"])
        and (part["origin"] is None or in_cache(part["model"]))
    }


def _figures(
    evaluation: Mapping[str, Any],
) -> Iterator[tuple[str, dict[str, float], dict[str, Any]]]:
    """Each set of prompts with its figures of METRICS and their fingerprint. Those that share one are together."""
    for split in SPLITS:
        measured = evaluation.get(split) or {}
        marks = (evaluation.get("fingerprints") or {}).get(split) or {}
        groups: dict[str, dict[str, float]] = {}
        for name in METRICS:
            if measured.get(name) is not None:
                digest = marks.get(name, {}).get("digest", "")
                groups.setdefault(digest, {})[name] = float(f"{measured[name]:.6g}")
        for figures in groups.values():
            yield split, figures, marks.get(next(iter(figures)), {})


def _results(
    record: Mapping[str, Any], evaluation: Mapping[str, Any], published: Published
) -> Iterator[dict[str, Any]]:
    """The `results` of a model-index: for each set of prompts its figures, with how they were measured."""
    catalogs = [str(each["uri"]).rstrip("/").rpartition("/")[2] for each in record["catalogs"].values()]
    for split, figures, measured in _figures(evaluation):
        yield {
            "task": {"type": "text-to-image"},
            "dataset": {
                "type": published.data or catalogs[0],
                "name": ", ".join(dict.fromkeys(catalogs)),
                "split": SPLITS[split],
                "args": dict(measured),
            },
            "metrics": [
                {"type": name, "name": METRICS[name], "value": value} for name, value in figures.items()
            ],
        }


def eval_results(evaluation: Mapping[str, Any], published: Published) -> list[dict[str, Any]]:
    """The entries of `.eval_results/*.yaml`; none without a published data set, because each names one."""
    if published.data is None:
        return []
    entries = []
    for split, figures, measured in _figures(evaluation):
        notes = _notes(measured)
        for name, value in figures.items():
            entry: dict[str, Any] = {
                "dataset": {"id": published.data, "task_id": f"{name}_{split}"},
                "value": value,
            }
            if evaluation.get("created"):
                entry["date"] = evaluation["created"]
            if published.repo:
                entry["source"] = {
                    "url": f"{HUB}/{published.repo}/blob/main/evaluation/evaluation.json",
                    "name": "commoncanvas evaluate",
                    "user": published.owner,
                }
            entries.append(entry | {"notes": notes})
    return entries


def _notes(found: Mapping[str, Any]) -> str:
    """A fingerprint in one line."""
    return ", ".join(NOTES[name].format(value) for name, value in found.items() if name in NOTES)
