"""The self-signed certificate of this machine: made at first use, for those who have no other.

It shows that an image was not changed since it was written, not who wrote it: anyone can make such a certificate.
"""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from commoncanvas.core.errors import CredentialError, MissingExtraError
from commoncanvas.core.files import sync, why
from commoncanvas.drawing.certificate import MISSING, Identity, read_identity

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.x509 import Certificate, Name

CHAIN, KEY, AUTHORITY = "certificate.pem", "key.pem", "ca.pem"
YEARS = 10
"""How long it is valid. Credentials without a time stamp are valid as long as their certificate."""
PURPOSE = "1.3.6.1.5.5.7.3.4"
"""emailProtection: the extended key usage that every reader of content credentials accepts."""


def own_folder() -> Path:
    """Where the certificate is: in the user's folder of settings (XDG Base Directory Specification 0.8)."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        settings = Path(given) if Path(given).is_absolute() else Path.home() / ".config"
    except RuntimeError as error:
        raise CredentialError("this user has no home folder; set XDG_CONFIG_HOME to a folder") from error
    return settings / "commoncanvas" / "credentials"


def own_identity() -> Identity:
    """The identity of this machine; it is made if there is none.

    Processes that need it first at the same time get the same one. Raises CredentialError; MissingExtraError.
    """
    folder = own_folder()
    try:
        if not folder.exists():
            _make(folder)
    except OSError as error:
        raise CredentialError(f"{error.filename or folder}: {why(error)}") from error
    try:
        return read_identity(folder / CHAIN, folder / KEY)
    except CredentialError as error:
        raise CredentialError(f"{error}; move {folder} away, and the next run makes a new one") from error


def _make(folder: Path) -> None:
    """Write certificate, key and authority as one folder, which is there completely or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(mkdtemp(prefix=".credentials-", dir=folder.parent))  # for this user alone
    try:
        _write(made)
        sync(made)
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster, and its certificate counts
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(folder: Path) -> None:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise MissingExtraError(MISSING) from error
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    short = x509.SubjectKeyIdentifier.from_public_key(key.public_key()).digest.hex()[:8]
    issuer = _name(f"CommonCanvas self-signed authority {short}")
    authority = _certificate(issuer, issuer, authority_key.public_key(), authority_key, is_authority=True)
    subject = _name(f"CommonCanvas self-signed certificate {short}")
    signer = _certificate(subject, issuer, key.public_key(), authority_key)
    pem = serialization.Encoding.PEM
    # The authority's key is not written, so it issues nothing else.
    (folder / AUTHORITY).write_bytes(authority.public_bytes(pem))
    (folder / CHAIN).write_bytes(signer.public_bytes(pem) + authority.public_bytes(pem))
    plain = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / KEY).touch(mode=0o600)
    (folder / KEY).write_bytes(plain)


def _name(common: str) -> Name:
    """A name that says what the certificate is worth, without a word on the user or the machine."""
    from cryptography.x509 import Name, NameAttribute
    from cryptography.x509.oid import NameOID

    return Name(
        [
            NameAttribute(NameOID.ORGANIZATION_NAME, "self-signed, so the signer is not known"),
            NameAttribute(NameOID.COMMON_NAME, common),
        ]
    )


def _certificate(
    subject: Name,
    issuer: Name,
    public: EllipticCurvePublicKey,
    signed_with: EllipticCurvePrivateKey,
    is_authority: bool = False,
) -> Certificate:
    """A certificate with the extensions that C2PA 2.4 asks for (section 14.5.1, "Certificate profiles")."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    now = datetime.now(UTC)
    usage = dict.fromkeys(
        [
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ],
        False,
    )
    usage["key_cert_sign" if is_authority else "digital_signature"] = True
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks differ
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signed_with.public_key()), critical=False
        )
    )
    if not is_authority:
        purposes = x509.ExtendedKeyUsage([x509.ObjectIdentifier(PURPOSE)])
        made = made.add_extension(purposes, critical=False)
    return made.sign(signed_with, hashes.SHA256())
