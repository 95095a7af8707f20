"""Options of `serve`: what one request may ask, how many may wait, and whether images are signed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from commoncanvas.core.errors import ServerError
from commoncanvas.options.credentials import CredentialOptions


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Limits of a server of images.

    Attributes:
        queue: images that may wait; more are refused with 429; default: those of one batch, and at least 8.
        max_n: most images of one request.
        max_steps: most sampling steps of an image.
        max_pixels: most pixels of an image; default: as many as the training images have.
        max_prompt: most characters of a prompt, and of a negative prompt.
        log_prompts: write prompts into the log.
    """

    queue: int | None = None
    max_n: int = 10
    max_steps: int = 100
    max_pixels: int | None = None
    max_prompt: int = 4000
    log_prompts: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is not None and each.name != "log_prompts" and value < 1:
                raise ServerError(f"{each.name.replace('_', '-')} {value}: give at least 1")


@dataclass(frozen=True, kw_only=True)
class ServedCredentials(CredentialOptions):
    """As for `generate`, but off if nothing is said: signing takes a part of the server's time.

    Attributes:
        credentials: sign the images (content credentials, C2PA): on, off, or auto: on if c2pa-python is installed.
        certificate: PEM file with the signer's certificate and its chain; default: a self-signed one of this machine.
        key: PEM file with the certificate's private key.
    """

    credentials: Literal["auto", "on", "off"] = "off"


DEFAULTS, UNSIGNED = ServeOptions(), ServedCredentials()
