"""Options of `generate` for the files that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CredentialOptions:
    """Whether images get content credentials when they are written, and who signs these.

    Attributes:
        credentials: sign the files (content credentials, C2PA): on, off, or auto: on if c2pa-python is installed.
        certificate: PEM file with the signer's certificate and its chain; default: a self-signed one of this machine.
        key: PEM file with the certificate's private key.
    """

    credentials: Literal["auto", "on", "off"] = "auto"
    certificate: str | None = None
    key: str | None = None


DEFAULTS, OFF = CredentialOptions(), CredentialOptions(credentials="off")
