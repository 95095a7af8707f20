"""Who made a model and under which terms: from the package's entry, a folder's files, or a hub id's owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from commoncanvas.models import attribution as module
from commoncanvas.models.attribution import STANDARD, UNATTRIBUTED, attribution

ROOT = Path(__file__).parents[2]


def test_a_packaged_model_has_its_authors_and_apaches_own_text() -> None:
    found = attribution("minilm")
    assert "sentence-transformers project" in found.authors and found.page
    assert found.texts == (("LICENSE", (ROOT / "LICENSE").read_bytes()),)
    assert found.page in (ROOT / "NOTICE").read_text()


def test_a_folder_is_read_for_its_texts_and_its_citation(tmp_path: Path) -> None:
    assert attribution(str(tmp_path)) == UNATTRIBUTED
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    assert [name for name, _ in attribution(str(tmp_path)).texts] == ["LICENSE"], "the standard text"
    (tmp_path / "LICENSE.txt").write_bytes(b"do as you like\r\n")
    (tmp_path / "NOTICE").write_bytes(b"by Ann")
    (tmp_path / "CITATION.cff").write_text(
        "authors:\n- {given-names: Ann, family-names: Lee}\n- {name: 'The\n\n  Lab'}\n- {}\n- 3\n"
    )
    found = attribution(str(tmp_path))
    assert found.authors == "Ann Lee, The Lab"
    assert found.texts == (("LICENSE.txt", b"do as you like\r\n"), ("NOTICE", b"by Ann"))


@pytest.mark.parametrize("text", [b"authors: [", b"authors: 3", b"[]", b"\xff\xfe", b"authors: []"])
def test_a_citation_that_names_nobody_is_no_author(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "CITATION.cff").write_bytes(text)
    assert attribution(str(tmp_path)).authors == "unknown"


def test_a_model_of_the_hub_is_by_its_owner_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "beside", lambda model, name: None)
    monkeypatch.setattr(module, "card_license", lambda model: "openrail++")
    found = attribution("stabilityai/sd-vae")
    assert found.authors == "stabilityai (owner of stabilityai/sd-vae on the Hugging Face hub)"
    assert found.page == "https://huggingface.co/stabilityai/sd-vae" and found.texts == ()


def test_the_standard_texts_are_in_the_package() -> None:
    folder = ROOT / "src/commoncanvas/licenses/texts"
    assert {path.name for path in folder.iterdir()} == set(STANDARD.values())
