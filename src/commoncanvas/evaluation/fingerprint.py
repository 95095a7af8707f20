"""How a figure was measured. Two figures can be compared if their fingerprints are the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from typing import Any, Self

LIBRARIES = (
    "commoncanvas",
    "diffusers",
    "numpy",
    "open_clip_torch",
    "pillow",
    "torch",
    "torch-fidelity",
    "transformers",
)
"""Packages whose versions may change a figure."""
LOSSLESS = "PNG"
"""The codec of drawn images: they are measured as they are on disk."""
WORDS = {
    "prompts": "the number of prompts",
    "prompts_sha256": "the prompts",
    "images_per_prompt": "images a prompt",
    "seeds_sha256": "the seeds",
    "steps": "sampling steps",
    "guidance_scale": "guidance scale",
    "resize": "how images are resized",
    "codec": "the codec",
    "features": "the feature network",
    "features_sha256": "the feature network's weights",
    "scorer_revision": "the scorer's weights",
    "scorer_settings": "the scorer's settings",
    "reference": "the reference",
    "reference_sha256": "the reference's images",
}
"""Names of fields in sentences; the others are called as they are."""


@dataclass(frozen=True)
class Fingerprint:
    """How one figure was measured.

    Attributes:
        prompts: number of prompts, each with `images_per_prompt` images.
        prompts_sha256: digest of the texts, in order.
        seeds_sha256: digest of the images' seeds, in order.
        sampler: the scheduler's class.
        size: width and height of the drawn images, pixels.
        resize: how images are resized before they are measured.
        codec: how drawn images are stored before they are measured.
        features: name of the feature network; features_sha256: digest of its weights. None for a scorer's figure.
        scorer: name of what scores an image with its prompt; scorer_revision: digest of its weights; scorer_settings:
            all else that changes a score.
        reference: what the images are compared with; reference_sha256: digest of its images or statistics.
        libraries: versions of LIBRARIES.
    """

    prompts: int
    prompts_sha256: str
    images_per_prompt: int
    seeds_sha256: str
    sampler: str
    steps: int
    guidance_scale: float
    size: str
    codec: str = LOSSLESS
    resize: str | None = None
    features: str | None = None
    features_sha256: str | None = None
    scorer: str | None = None
    scorer_revision: str | None = None
    scorer_settings: Mapping[str, Any] | None = None
    reference: str | None = None
    reference_sha256: str | None = None
    libraries: Mapping[str, str] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of all fields; the settings count only if a scorer has some."""
        known = asdict(self)
        if not self.scorer_settings:
            del known["scorer_settings"]
        return _sha256(known)

    def to_dict(self) -> dict[str, Any]:
        """The fields that are known, and the digest."""
        return {name: value for name, value in asdict(self).items() if value is not None} | {
            "digest": self.digest
        }

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Self:
        """The fingerprint from `to_dict`'s form."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in written.items() if name in known})


def drawn(
    texts: Sequence[str], seeds: Sequence[int], images_per_prompt: int = 1, **settings: Any
) -> Fingerprint:
    """The fingerprint of drawn images, image i of text i from seed i; `settings` are its other fields."""
    return Fingerprint(
        prompts=len(texts) // images_per_prompt,
        prompts_sha256=_sha256(list(texts)),
        images_per_prompt=images_per_prompt,
        seeds_sha256=_sha256(list(seeds)),
        libraries=versions(),
        **settings,
    )


def differences(a: Fingerprint, b: Fingerprint) -> list[str]:
    """Names of the fields that differ; of the libraries, `libraries.torch` and so on."""
    found: list[str] = []
    for field in fields(Fingerprint):
        one, other = getattr(a, field.name), getattr(b, field.name)
        if one == other:
            continue
        if field.name == "libraries":
            names = sorted({*(one or {}), *(other or {})})
            found += [
                f"libraries.{name}" for name in names if (one or {}).get(name) != (other or {}).get(name)
            ]
        else:
            found.append(field.name)
    return found


def note(fingerprints: Iterable[Fingerprint], shown: Collection[str] = ()) -> str | None:
    """A sentence for a table of figures that were not measured in the same way; None if they were.

    `shown`: fields that the table shows, which may differ.
    """
    marks = [*fingerprints]
    names = {name for other in marks[1:] for name in differences(marks[0], other)} - set(shown)
    if not names:
        return None
    words = [WORDS.get(name, name.replace("libraries.", "version of ")) for name in sorted(names)]
    return f"These figures were not measured in the same way; what differs: {', '.join(words)}."


def of_set(evaluation: Mapping[str, Any], split: str) -> Fingerprint | None:
    """How the distances of an evaluation.json were measured; `split`: `seen` or `heldout`. None if they were not."""
    marks = (evaluation.get("fingerprints") or {}).get(split) or {}
    return Fingerprint.of(marks["retrieval"]) if "retrieval" in marks else None


def versions() -> dict[str, str]:
    """The versions of LIBRARIES that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
