"""Certificates of an authority of the tests, right and wrong ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
CLAIM_SIGNING, CODE_SIGNING = "1.3.6.1.4.1.62558.2.1", "1.3.6.1.5.5.7.3.3"
KEYS = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "short": lambda: rsa.generate_private_key(65537, 1024),
}


class Issued(NamedTuple):
    """Files: the chain, the signer's key, the authority alone."""

    certificate: Path
    key: Path
    authority: Path


def issue(
    folder: Path,
    kind: str = "es256",
    *,
    days: tuple[float, float] = (-1, 9),
    purposes: Sequence[str] = (CLAIM_SIGNING,),
    usage: str = "digital_signature",
    authority_id: bool = True,
    key_format: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8,
    password: bytes | None = None,
) -> Issued:
    """A certificate of a museum, valid `days` from now, with its authority and key, written into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), KEYS[kind]()
    authority_name = name("Museums' Authority")
    authority = (
        started(authority_name, authority_key.public_key(), (-100, 100), authority_name)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(x509.KeyUsage(**only("key_cert_sign")), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    made = (
        started(name("Museum of Examples"), key.public_key(), days, authority_name)
        .add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(x509.KeyUsage(**only(usage)), critical=True)
    )
    if purposes:
        oids = [x509.ObjectIdentifier(each) for each in purposes]
        made = made.add_extension(x509.ExtendedKeyUsage(oids), critical=False)
    if authority_id:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        made = made.add_extension(identifier, critical=False)
    signer = made.sign(authority_key, hashes.SHA256())
    hidden: Any = (
        serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    )
    files = Issued(folder / "chain.pem", folder / "signer.key", folder / "authority.pem")
    files.certificate.write_bytes(signer.public_bytes(PEM) + authority.public_bytes(PEM))
    files.authority.write_bytes(authority.public_bytes(PEM))
    files.key.write_bytes(key.private_bytes(PEM, key_format, hidden))
    return files


def name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def only(usage: str) -> dict[str, bool]:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign "
        "crl_sign encipher_only decipher_only"
    )
    return {each: each == usage for each in names.split()}


def started(
    subject: x509.Name, public: Any, days: tuple[float, float], issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
