"""Content credentials (C2PA): a signed manifest in each PNG file that says which model drew it.

https://spec.c2pa.org/specifications/specifications/2.4/specs/C2PA_Specification.html
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError, CredentialError, MissingExtraError
from commoncanvas.core.text import one_line
from commoncanvas.core.version import __version__
from commoncanvas.drawing import png
from commoncanvas.drawing.certificate import MISSING, PURPOSES, Identity, read_identity
from commoncanvas.drawing.own_certificate import own_folder, own_identity
from commoncanvas.options.credentials import CredentialOptions

if TYPE_CHECKING:
    from types import ModuleType

ACTIONS, DISCLOSURE, MODEL = "c2pa.actions.v2", "c2pa.ai-disclosure", "commoncanvas.model"
"""Labels of the assertions. The first two are C2PA's; the last is ours: licence, and tags of the catalogs."""
CHUNK = b"caBX"
"""The chunk of a PNG file with its manifest (C2PA 2.4, appendix A.3.6)."""
GENERATED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SETTINGS: dict[str, Any] = {
    "builder": {"thumbnail": {"enabled": False}},
    "core": {"allowed_network_hosts": []},
    "trust": {"trust_config": "\n".join(PURPOSES)},
    "verify": {"ocsp_fetch": False, "remote_manifest_fetch": False},
}
"""c2pa's settings: nothing is sent or fetched, and certificates for all of PURPOSES may sign."""


def manifest_of(info: Mapping[str, Any], record: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is signed: that a model drew the image, and which. There is no prompt in it, no time and no place.

    `info`: the image's `model`, `model_sha256`; `record`: the model's provenance.json, None if it has none. Of its
    catalogs the names and tags are stated, not the addresses.
    """
    software = {"name": "commoncanvas", "version": __version__}
    created = {"action": "c2pa.created", "digitalSourceType": GENERATED, "softwareAgent": software}
    assertions: dict[str, Any] = {
        ACTIONS: {"actions": [created]},
        DISCLOSURE: {
            "modelType": "c2pa.types.model.pytorch",
            "modelName": info["model"],
            "modelIdentifier": f"sha256:{info['model_sha256']}",
        },
    }
    if record is not None:
        assertions[MODEL] = {
            "license": record.get("result_license"),
            "catalogs": {name: source.get("tag") for name, source in record["catalogs"].items()},
        }
    return {
        "claim_generator_info": [software],
        "assertions": [{"label": label, "data": data, "created": True} for label, data in assertions.items()],
    }


class Signer:
    """Puts manifests into PNG files.

    Raises CredentialError if c2pa refuses the identity, which it finds out by a first file; MissingExtraError.
    """

    def __init__(self, identity: Identity) -> None:
        self._c2pa = load_c2pa()
        self._name = identity.name
        try:
            info = self._c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, None)
            self._context = self._c2pa.Context.from_dict(SETTINGS, signer=self._c2pa.Signer.from_info(info))
        except self._c2pa.C2paError as error:
            raise self._refused(error) from error
        self.sign(_smallest_png(), manifest_of({"model": "", "model_sha256": ""}, None))

    def sign(self, data: bytes, manifest: Mapping[str, Any]) -> bytes:
        """The same PNG file with one more chunk, `caBX`: pixels and texts stay as they are. Raises CredentialError."""
        signed = BytesIO()
        try:
            with self._c2pa.Builder(manifest, context=self._context) as builder:
                builder.sign("image/png", BytesIO(data), signed)
        except self._c2pa.C2paError as error:
            raise self._refused(error) from error
        return signed.getvalue()

    def _refused(self, error: Exception) -> CredentialError:
        return CredentialError(f"c2pa can't sign with the certificate {self._name}: {one_line(error)}")


class Signing:
    """What generate does with the bytes of a file before it writes them, as `options` say.

    Created before the model is loaded, so that a wrong certificate is told first. Raises CredentialError;
    MissingExtraError.
    """

    def __init__(self, options: CredentialOptions) -> None:
        self.signer, self._note = _signer(options)
        self.manifest: dict[str, Any] = {}
        self._told = False
        self._off = options.credentials == "off"

    def begin(self, info: Mapping[str, Any], record: Mapping[str, Any] | None) -> None:
        """State which model draws, see `manifest_of`, and say on stderr what the user must know of the signature."""
        self.manifest = manifest_of(info, record)
        if self._note:
            say(self._note)

    @property
    def signs(self) -> bool:
        """Whether files get credentials."""
        return self.signer is not None

    def added(self, data: bytes) -> bytes:
        """The file with its credentials; unchanged if files are not signed."""
        return data if self.signer is None else self.signer.sign(data, self.manifest)

    def kept(self, path: str | Path) -> None:
        """Say once that a file that stays, because it was drawn before, is signed although credentials are off, or
        isn't although they are on.
        """
        if self._told or (self.signer is None and not self._off):
            return
        signed = png.has_chunk(Path(path), CHUNK) if self._off else has_manifest(Path(path))
        if signed == self._off:
            self._told = True
            how = "with content credentials, and keeps them" if signed else "without content credentials"
            say(f"{path} was drawn before {how}; move such files away to draw them again")


def has_manifest(path: Path) -> bool:
    """Whether a file has a manifest that can be read, valid or not."""
    c2pa = load_c2pa()
    try:
        with (
            path.open("rb") as file,
            c2pa.Context.from_dict(SETTINGS) as context,
            c2pa.Reader("image/png", file, context=context),
        ):
            return True
    except c2pa.C2paError:
        return False


def load_c2pa() -> ModuleType:
    """The package c2pa. Raises MissingExtraError."""
    try:
        import c2pa
    except ImportError as error:
        raise MissingExtraError(MISSING) from error
    except (OSError, RuntimeError, ValueError) as error:  # its library is not for this system
        raise MissingExtraError(f"c2pa-python can't be loaded here: {one_line(error)}") from error
    module: ModuleType = c2pa
    return module


def _signer(options: CredentialOptions) -> tuple[Signer | None, str]:
    """Who signs, None for nobody; and a note for the user."""
    certificate, key = options.certificate, options.key
    if (certificate is None) != (key is None):
        raise CredentialError("a certificate and its key belong together; give both, or none")
    if options.credentials == "off":
        if certificate is not None:
            raise CredentialError("a certificate is given, but credentials are off; leave out one of the two")
        return None, ""
    if certificate is not None and key is not None:
        return Signer(read_identity(Path(certificate), Path(key))), ""
    try:
        load_c2pa()
        signer = Signer(own_identity())
    except CommonCanvasError as error:
        if options.credentials == "on":
            raise
        return None, f"images get no content credentials: {error} (--credentials off hides this line)"
    return signer, (
        f"images are signed with the self-signed certificate in {own_folder()}; it shows that an image was not "
        "changed, not who made it"
    )


def _smallest_png() -> bytes:
    from PIL import Image

    file = BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    return file.getvalue()
