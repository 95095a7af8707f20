"""Content credentials read back from an image of any tool: who signed them, whether they hold, what they state."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CredentialError
from commoncanvas.core.files import why
from commoncanvas.core.text import clean, one_line
from commoncanvas.drawing.credentials import DISCLOSURE, GENERATED, MODEL, SETTINGS, load_c2pa

if TYPE_CHECKING:
    from rich.console import RenderableType

DRAWN = GENERATED.rpartition("/")[2]
UNTRUSTED = "signingCredential.untrusted"
MEANINGS = {
    "assertion.dataHash.mismatch": "the file was changed after it was signed",
    "assertion.hashedURI.mismatch": "the credentials were changed after they were signed",
    "claimSignature.mismatch": "the credentials were changed after they were signed",
    "claimSignature.outsideValidity": "the certificate is not valid now",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate is not one for content credentials",
}
"""C2PA's codes of failures (specification 2.4, section 15.2), in plain words."""


@dataclass(frozen=True, repr=False)
class ImageCredentials(Printed):
    """The content credentials of an image.

    Attributes:
        state: trusted: unchanged, and signed under a certificate that was given as trusted; valid: unchanged, but
            anyone may have signed; invalid: see `problems`; none: there are none.
        signed_by: names in the certificate; the signer chose them if the state is not trusted.
        software: what made the image.
        source: IPTC's digital source type; trainedAlgorithmicMedia: drawn by a model.
        model: the model's name.
        model_sha256: digest of the weights that drew, as commoncanvas writes it.
        license: licence of the model.
        catalogs: tags of the catalogs that the model learned from, by their names.
    """

    image: str
    state: Literal["trusted", "valid", "invalid", "none"]
    signed_by: str | None = None
    software: str | None = None
    source: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    license: str | None = None
    catalogs: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def render(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        states = {
            "trusted": ("trusted: not changed, and the signer is one you trust", "green"),
            "valid": ("valid: not changed since it was signed; who signed is not checked", "yellow"),
            "invalid": ("invalid", "bold red"),
            "none": ("none", "bold red"),
        }
        table = Table("image", self.image, box=None, header_style="bold", padding=(0, 2, 0, 0))
        table.add_row("state", Text(*states[self.state]))
        rows = {
            "problem": "\n".join(self.problems) or None,
            "signed by": self.signed_by,
            "made with": self.software,
            "source": f"{self.source} (drawn by a model)" if self.source == DRAWN else self.source,
            "model": self.model,
            "weights sha256": self.model_sha256,
            "licence": self.license,
            "catalogs": "\n".join(f"{name}: {tag}" for name, tag in self.catalogs.items()) or None,
        }
        for name, value in rows.items():
            if value is not None:
                table.add_row(name, Text(value, overflow="fold"))
        return table


def credentials(image: str | Path, *, trust: str | Path | None = None) -> ImageCredentials:
    """Read the content credentials of an image file: PNG, JPEG, WebP and what else c2pa reads. Nothing is fetched.

    `trust`: a PEM file with certificates of authorities. With it, a signer under none of them is a problem.
    Raises CredentialError if the file or its credentials can't be read; MissingExtraError.
    """
    try:
        with Path(image).open("rb") as file:
            return credentials_in(file, str(image), trust=trust)
    except OSError as error:
        raise CredentialError(f"{image}: {why(error)}") from error


def credentials_in(
    file: BinaryIO, image: str, kind: str | None = None, *, trust: str | Path | None = None
) -> ImageCredentials:
    """As `credentials`, of an open file. `image`: what it is called. `kind`: its media type; None if it has a name."""
    c2pa = load_c2pa()
    settings = SETTINGS
    if trust is not None:
        settings = settings | {"trust": settings["trust"] | {"trust_anchors": _anchors(Path(trust))}}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            c2pa.Reader(kind, file, context=context) as reader,
        ):
            found = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return ImageCredentials(image, "none", problems=("the file has no content credentials",))
    except (c2pa.C2paError, ValueError) as error:
        raise CredentialError(f"{image}: its content credentials can't be read: {one_line(error)}") from error
    return _summary(image, found, asked=trust)


def _anchors(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        problem = why(error) if isinstance(error, OSError) else "it is not a PEM file"
        raise CredentialError(f"{path}: {problem}") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise CredentialError(f"{path} has no certificate in PEM form")
    return text


def _summary(image: str, found: Mapping[str, Any], asked: object) -> ImageCredentials:
    """What a stranger's manifest store states; every value may be of any type."""
    manifest = _mapping(_mapping(found.get("manifests")).get(str(found.get("active_manifest"))))
    assertions = [_mapping(each) for each in _list(manifest.get("assertions"))]
    data = {str(each.get("label")): _mapping(each.get("data")) for each in assertions}
    signature = _mapping(manifest.get("signature_info"))
    action = next(_created(data), {})
    disclosure, model = data.get(DISCLOSURE, {}), data.get(MODEL, {})
    problems = tuple(dict.fromkeys(_problems(found)))
    state = found.get("validation_state")
    if state == "Valid" and asked is not None:
        problems += (f"the signer is under none of the certificates in {asked}",)
    names = [_text(signature.get(name)) for name in ("common_name", "issuer")]
    identifier = _text(disclosure.get("modelIdentifier")) or ""
    return ImageCredentials(
        image,
        "trusted" if state == "Trusted" else "valid" if state == "Valid" else "invalid",
        ", ".join(filter(None, names)) or None,
        software=_software(action.get("softwareAgent"))
        or _software(next(iter(_list(manifest.get("claim_generator_info"))), None))
        or _text(manifest.get("claim_generator")),
        source=(_text(action.get("digitalSourceType")) or "").rpartition("/")[2] or None,
        model=_text(disclosure.get("modelName")),
        model_sha256=identifier.removeprefix("sha256:") if identifier.startswith("sha256:") else None,
        license=_text(model.get("license")),
        catalogs={
            _text(name) or "": _text(tag) or "—" for name, tag in _mapping(model.get("catalogs")).items()
        },
        problems=problems,
    )


def _created(data: Mapping[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The actions that made an image, such as c2pa.created."""
    for label, assertion in data.items():
        if label.startswith("c2pa.actions"):
            actions = [_mapping(each) for each in _list(assertion.get("actions"))]
            yield from (each for each in actions if each.get("digitalSourceType"))


def _problems(found: Mapping[str, Any]) -> Iterator[str]:
    """Why credentials don't hold, in plain words. An unknown signer is none."""
    for each in map(_mapping, _list(found.get("validation_status"))):
        code = str(each.get("code"))
        if code != UNTRUSTED:
            yield MEANINGS.get(code) or _text(each.get("explanation")) or code


def _software(value: Any) -> str | None:
    """A name and a version; older manifests have one text."""
    if isinstance(value, str):
        return _text(value)
    parts = (_text(_mapping(value).get(name)) for name in ("name", "version"))
    return " ".join(filter(None, parts)) or None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return clean(value) if isinstance(value, str) else None
