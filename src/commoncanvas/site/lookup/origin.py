"""What a picture's own file says of where it is from: content credentials, and texts that drawing programs write."""

from __future__ import annotations

from dataclasses import asdict
from io import BytesIO
from typing import Any

from commoncanvas.core.errors import CredentialError, MissingExtraError
from commoncanvas.core.text import clean, one_line, visible
from commoncanvas.drawing.png import PARAMETERS, texts_of
from commoncanvas.drawing.reading import DRAWN, ImageCredentials, credentials_in
from commoncanvas.images.kinds import kind_of
from commoncanvas.site.model_list import Model, models_of
from commoncanvas.site.parts import Site

MEDIA_TYPES = {name: f"image/{name}" for name in ("jpeg", "png", "webp", "gif", "tiff", "heif")}
SETTINGS = ("seed", "steps", "guidance_scale", "scheduler", "width", "height", "precision", "software")
MOST_PROMPT = 4000
STATES = {
    "trusted": "The file was not changed since it was signed, and the signer is one that this server trusts.",
    "valid": "The file was not changed since it was signed. Anyone may have signed it.",
    "invalid": "Don't rely on them: they do not hold.",
}


def origin_of(data: bytes, site: Site) -> dict[str, Any] | None:
    """What the file says; None if it says nothing. `ours`: the model of this site with the same weights, if any."""
    signed, problem = _credentials(data)
    texts = texts_of(data)
    written = {name: text for name, text in texts.items() if name in ("prompt", "model", *SETTINGS)}
    if signed is None and not problem and "prompt" not in written and PARAMETERS not in texts:
        return None
    claimed = (signed.model_sha256 if signed else None) or texts.get("model_sha256")
    ours = _model_with(claimed, site)
    return {
        "model": one_line(clean((signed and signed.model) or written.get("model")) or "") or None,
        "drawn": bool("prompt" in written or (signed and signed.source == DRAWN)),
        "prompt": visible(written["prompt"])[:MOST_PROMPT] if "prompt" in written else None,
        "parameters": visible(texts.get(PARAMETERS, ""))[:MOST_PROMPT] or None,
        "settings": {name: one_line(written[name]) for name in SETTINGS if name in written},
        "model_sha256": one_line(claimed) if claimed else None,
        "ours": {"name": ours.name, "path": ours.path} if ours else None,
        "credentials": asdict(signed) | {"says": STATES[signed.state]} if signed else None,
        "problem": problem,
    }


def _credentials(data: bytes) -> tuple[ImageCredentials | None, str]:
    """Content credentials, None if there are none; and why they can't be read."""
    kind = MEDIA_TYPES.get(kind_of(data) or "")
    if kind is None:
        return None, ""
    try:
        found = credentials_in(BytesIO(data), "the picture", kind)
    except MissingExtraError:
        return None, ""
    except CredentialError as error:
        return None, one_line(error)
    return (None if found.state == "none" else found), ""


def _model_with(sha256: str | None, site: Site) -> Model | None:
    """A picture states the digest of the network that drew it: see drawing.model.digest_of."""
    if sha256 is None:
        return None
    weights = ((model, (model.record or {}).get("weights", {})) for model in models_of(site).values())
    return next((model for model, digests in weights if sha256 in digests.values()), None)
