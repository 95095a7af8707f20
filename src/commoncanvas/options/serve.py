"""Options of `serve`: who draws, what one request may ask, how many may wait, and whether images are signed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from commoncanvas.core.errors import ServerError
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.generate import Precision


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Limits of a server of images, and how it draws them.

    Attributes:
        queue: images that may wait; more are refused with 429; default: those of one batch, and at least 8.
        max_n: most images of one request.
        max_steps: most sampling steps of an image.
        max_pixels: most pixels of an image; default: as many as the training images have.
        max_prompt: most characters of a prompt, and of a negative prompt.
        log_prompts: write prompts into the log.
        precision: of the products; bf16 and fp16 are faster where the device has such products, and change the images
            a little; fp16 needs a GPU.
    """

    queue: int | None = None
    max_n: int = 10
    max_steps: int = 100
    max_pixels: int | None = None
    max_prompt: int = 4000
    log_prompts: bool = False
    precision: Precision = "fp32"

    @property
    def body_bytes(self) -> int:
        """Most bytes of a request's body. It has two prompts; a character of them takes at most four bytes, or twelve
        as two escapes of JSON.
        """
        return 2 * 12 * self.max_prompt + 4096

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) is int and value < 1:
                raise ServerError(f"{each.name.replace('_', '-')} {value}: give at least 1")


@dataclass(frozen=True, kw_only=True)
class ReplicaOptions:
    """Where a server's images are drawn.

    Attributes:
        engine: this process draws, or replicas on a running Ray cluster do.
        replicas: processes of the Ray cluster that draw, each with the whole model; default: one per GPU, else one.
        threads: torch threads that draw an image, which decide its last bits; default: OMP_NUM_THREADS or all cores;
            with Ray, as many as the cluster's cores allow.
    """

    engine: Literal["local", "ray"] = "local"
    replicas: int | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.engine not in ("local", "ray"):
            raise ServerError(f"engine {self.engine!r} is not one of: local, ray")
        for name in ("replicas", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ServerError(f"{name} {value}: give at least 1")
        if self.replicas is not None and self.engine == "local":
            raise ServerError(f"replicas {self.replicas} is only for --engine ray; leave it out")


@dataclass(frozen=True, kw_only=True)
class ServedCredentials(CredentialOptions):
    """As for `generate`, but off if nothing is said: signing takes a part of the server's time.

    Attributes:
        credentials: sign the images (content credentials, C2PA): on, off, or auto: on if c2pa-python is installed.
        certificate: PEM file with the signer's certificate and its chain; default: a self-signed one of this machine.
        key: PEM file with the certificate's private key.
    """

    credentials: Literal["auto", "on", "off"] = "off"


DEFAULTS, UNSIGNED, HERE = ServeOptions(), ServedCredentials(), ReplicaOptions()
