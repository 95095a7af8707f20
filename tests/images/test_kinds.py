"""The table of kinds: through the one way in, each becomes the picture that it shows, or the right status."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from commoncanvas.core.errors import ImageError
from commoncanvas.images.decoders import Decoders
from commoncanvas.images.header import WEB_FORMATS
from commoncanvas.images.tasks import Look
from tests.images.kinds import UNSUPPORTED, Shows, kinds

KINDS = list(kinds())


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders[Any]]:
    made = Decoders(Look(1000), 1)
    yield made
    made.close()


@pytest.mark.parametrize(("data", "wanted"), [kind[1:] for kind in KINDS], ids=[kind[0] for kind in KINDS])
def test_no_kind_of_file_becomes_a_wrong_picture_or_a_wrong_status(
    decoders: Decoders[Any], data: bytes, wanted: str | Shows
) -> None:
    if isinstance(wanted, Shows):
        shown, expected = decoders(data, WEB_FORMATS), wanted.array()
        assert shown.shape == expected.shape
        assert np.abs(shown.astype(int) - expected).mean() <= wanted.off
        return
    with pytest.raises(ImageError) as raised:
        decoders(data, WEB_FORMATS)
    assert raised.value.status == wanted
    message = str(raised.value)
    assert len(message) > 20 and message.isprintable()
    if wanted == UNSUPPORTED:
        assert "convert it to" in message or "save it with" in message


def test_there_are_sixty_kinds_of_damaged_or_odd_files() -> None:
    assert len({name for name, _, _ in KINDS}) == len(KINDS) >= 100
