"""The licence of a model, from the model card in its folder or on the hub."""

from __future__ import annotations

import re

import yaml

from commoncanvas import licenses
from commoncanvas.core.text import one_line
from commoncanvas.models.loading import beside
from commoncanvas.models.packaged import PACKAGED

CARD = "README.md"
UNKNOWN = "unknown"
MAX_BYTES = 1 << 16
"""Bytes to read of a card: its front matter is at the beginning."""
_FRONT = re.compile(r"\A\ufeff?---\s*\n(.*?)\n---\s*(\n|\Z)", re.DOTALL)
# Names of licences that allow only noncommercial use or research, among the hub's ids and in `license_name`.
_NONCOMMERCIAL = re.compile(
    r"(?<![a-z])(non-?_?commercial|nc|research(-only)?|amlr|deepfloyd-if-license)(?![a-z])"
)


def card_license(model: str) -> str:
    """The licence in the model card, unchanged; several are joined with commas; UNKNOWN if there is none."""
    if model in PACKAGED:
        return PACKAGED[model].license
    path = beside(model, CARD)
    front = path and _FRONT.match(path.read_bytes()[:MAX_BYTES].decode(errors="replace"))
    try:
        fields = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        fields = None
    if not isinstance(fields, dict):
        return UNKNOWN
    stated = fields.get("license")
    names = _words(stated if isinstance(stated, list) else [stated])
    if names == ["other"]:
        names = _words([fields.get("license_name")])
    return ", ".join(names) or UNKNOWN


def _words(values: list[object]) -> list[str]:
    """The non-empty texts among values of an untrusted card."""
    return [one_line(value) for value in values if isinstance(value, str) and value.strip()]


def permits(license: str, policy: licenses.Policy) -> bool:
    """Whether a model with this licence may be used for a model of `policy`, judged by the licence's name."""
    if policy == licenses.Policy.NONCOMMERCIAL:
        return True
    for name in license.split(", "):
        known = licenses.parse(name)
        if (known.reusable and not known.commercial) or _NONCOMMERCIAL.search(name.casefold()):
            return False
    return True
