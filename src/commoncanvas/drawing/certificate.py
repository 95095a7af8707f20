"""Certificates that content credentials are signed with: read from files and checked.

The rules are those of the C2PA specification 2.4, section 14.5, "X.509 Certificates".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from commoncanvas.core.errors import CredentialError, MissingExtraError
from commoncanvas.core.files import why
from commoncanvas.core.text import clean

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate, ExtensionType

    Kind = TypeVar("Kind", bound=ExtensionType)

PURPOSES = {
    "1.3.6.1.4.1.62558.2.1": "c2pa-kp-claimSigning",
    "1.3.6.1.5.5.7.3.4": "emailProtection",
    "1.3.6.1.5.5.7.3.36": "documentSigning",
}
"""Extended key usages that let a certificate sign content credentials, by OID."""
CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
"""Elliptic curves, and C2PA's names of the algorithms that go with them."""
SHORTEST_RSA = 2048
"""Bits."""
MISSING = "the package c2pa-python is missing; pip install 'commoncanvas[c2pa]'"


@dataclass(frozen=True)
class Identity:
    """What signs.

    Attributes:
        name: the common name of the certificate.
        algorithm: as C2PA names it, such as es256.
        chain: certificates in PEM, the signer's first.
        key: its private key in PEM (PKCS 8).
    """

    name: str
    algorithm: str
    chain: bytes
    key: bytes = field(repr=False)


def read_identity(certificate: Path, key: Path) -> Identity:
    """The identity in two PEM files. The kind of key decides the algorithm.

    Raises CredentialError if a file can't be read, if they don't belong together, or if the certificate can't sign
    content credentials (now); MissingExtraError.
    """
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtraError(MISSING) from error
    chain, private = _certificates(certificate), _private_key(key)
    algorithm = _algorithm(private, key)
    if private.public_key() != chain[0].public_key():
        raise CredentialError(f"{key} is not the key of the first certificate in {certificate}")
    if problems := [*_dates(chain[0]), *_profile(chain[0]), *_issuers(chain)]:
        raise CredentialError(f"{certificate} can't sign content credentials: {'; '.join(problems)}")
    pem = serialization.Encoding.PEM
    return Identity(
        common_name(chain[0]),
        algorithm,
        b"".join(each.public_bytes(pem) for each in chain),
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def common_name(certificate: Certificate) -> str:
    """The common name of a certificate's owner, or the whole name if there is none."""
    from cryptography.x509.oid import NameOID

    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return clean(str(names[0].value) if names else certificate.subject.rfc4514_string()) or "—"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialError(f"{path}: {why(error)}") from error


def _certificates(path: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(_bytes(path))
    except ValueError as error:
        raise CredentialError(f"{path} has no certificate in PEM form") from error


def _private_key(path: Path) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(_bytes(path), password=None)
    except TypeError as error:
        raise CredentialError(
            f"{path} is encrypted; decrypt it first, such as by openssl pkey -in {path} -out plain.pem"
        ) from error
    except (ValueError, UnsupportedAlgorithm):
        # The cause is left out: it may quote the file.
        raise CredentialError(f"{path} has no private key in PEM form") from None


def _algorithm(key: PrivateKeyTypes, path: Path) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        return CURVES[key.curve.name]
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= SHORTEST_RSA:
        return "ps256"
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise CredentialError(
        f"{path} is a key that content credentials don't allow; use one for the curve P-256, P-384 or P-521, "
        f"Ed25519, or RSA with {SHORTEST_RSA:,} bits or more"
    )


def _dates(signer: Certificate) -> Iterator[str]:
    now = datetime.now(UTC)
    if signer.not_valid_after_utc < now:
        yield f"it expired on {signer.not_valid_after_utc:%Y-%m-%d}"
    if signer.not_valid_before_utc > now:
        yield f"it is valid only from {signer.not_valid_before_utc:%Y-%m-%d} on"


def _profile(signer: Certificate) -> Iterator[str]:
    from cryptography import x509

    constraints = _extension(signer, x509.BasicConstraints)
    usage, purposes = _extension(signer, x509.KeyUsage), _extension(signer, x509.ExtendedKeyUsage)
    if constraints is not None and constraints.ca:
        yield "its first certificate is an authority's; the signer's own comes first"
        return
    if signer.issuer == signer.subject:
        yield "its first certificate is signed by itself; C2PA wants one that an authority has issued"
    if usage is None or not usage.digital_signature:
        yield "its key usage lacks digitalSignature"
    if purposes is None or not {each.dotted_string for each in purposes} & set(PURPOSES):
        yield f"its extended key usage has none of {', '.join(PURPOSES.values())}"
    if _extension(signer, x509.AuthorityKeyIdentifier) is None:
        yield "it has no authority key identifier"


def _extension(certificate: Certificate, kind: type[Kind]) -> Kind | None:
    from cryptography.x509 import ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except ExtensionNotFound:
        return None


def _issuers(chain: Sequence[Certificate]) -> Iterator[str]:
    from cryptography.exceptions import InvalidSignature

    for number, (issued, issuer) in enumerate(pairwise(chain), start=1):
        try:
            issued.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            yield f"its certificate {number + 1} did not issue certificate {number}"
