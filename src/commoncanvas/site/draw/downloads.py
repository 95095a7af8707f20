"""Drawn images as files to keep: with content credentials, also if the server does not sign what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.text import one_line
from commoncanvas.drawing import png
from commoncanvas.drawing.credentials import Signing
from commoncanvas.options.credentials import CredentialOptions

SIGNED = (
    "Downloads have content credentials: signed data which says that a model drew the picture, and which one. The "
    "prompt and the settings are in the file as text."
)


class Downloads:
    """Signs files when they are asked for. The signer is made for the first one: it takes a second."""

    def __init__(
        self, studio_signs: bool, about: Mapping[str, Any], record: Mapping[str, Any] | None
    ) -> None:
        self._studio_signs = studio_signs
        self._about, self._record = about, record
        self._signing: Signing | None = None
        self._problem = ""
        self._lock = asyncio.Lock()

    async def note(self) -> str:
        """What the page says of downloads."""
        await self._signer()
        if not self._problem:
            return SIGNED
        return (
            f"Downloads have no content credentials: {self._problem}. The prompt and the settings are in the file as "
            "text."
        )

    async def signed(self, content: bytes) -> bytes:
        """The PNG file with its credentials, as far as there are any."""
        signing = await self._signer()
        return content if signing is None else await asyncio.to_thread(signing.added, content)

    async def _signer(self) -> Signing | None:
        """Who signs; None if the studio has signed already, and if nobody can."""
        async with self._lock:
            if self._signing is None and not self._problem and not self._studio_signs:
                try:
                    self._signing = await asyncio.to_thread(self._make)
                except CommonCanvasError as error:
                    self._problem = one_line(error)
            return self._signing

    def _make(self) -> Signing:
        signing = Signing(CredentialOptions(credentials="on"))
        signing.begin(self._about, self._record)
        return signing


def file_name(content: bytes) -> str:
    """The name of a drawn image's file, from the texts in it."""
    from PIL import Image

    return png.name_of(Image.open(BytesIO(content)).info)
