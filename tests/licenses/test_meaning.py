"""What the one sentence about a licence says is what the licence permits."""

from __future__ import annotations

import pytest

from commoncanvas.licenses import LICENSES, meaning


@pytest.mark.parametrize("id", list(LICENSES))
def test_the_sentence_agrees_with_the_licence(id: str) -> None:
    licence = LICENSES[id]
    said = meaning(licence)
    assert said.startswith("Everybody may use") == licence.reusable and said.endswith(".")
    if licence.reusable and not licence.public_domain:
        assert ("also commercially" in said) == licence.commercial == ("not commercially" not in said)
        assert ("unchanged" in said) != licence.derivatives
        assert ("name the creator" in said) == licence.attribution
        assert ("same licence" in said) == licence.share_alike
    if licence.public_domain:
        assert "for any purpose" in said and "if" not in said
