"""The licences of models that others are built on: by record, by model card, through subfolders and the hub's cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import LicenseError
from commoncanvas.encoding.command import encode
from commoncanvas.licenses import Policy
from commoncanvas.models.card import card_license, permits
from commoncanvas.provenance.origin_record import ORIGIN
from commoncanvas.provenance.record import part
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe


def record(*licenses: str) -> str:
    """A provenance.json of a model that learned from images under these licences."""
    fields: dict[str, object] = dict.fromkeys(ORIGIN, "x")
    fields |= {
        "catalogs": {},
        "rows": {},
        "licenses": dict.fromkeys(licenses, 3),
        "creators": 3,
        "built_on": [],
    }
    return json.dumps(fields)


@pytest.fixture
def nc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A noncommercial model's folder, and links and relative names that lead to it."""
    folder = tmp_path / "nc"
    for name in ("unet", "vae", "text_encoder"):
        (folder / name).mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "provenance.json").write_text(record("CC-BY-NC-2.0"))
    (folder / "credits.csv").touch()
    (tmp_path / "link").symlink_to(folder / "vae")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize(
    "model",
    ["nc", "nc/", "nc/unet", "nc/vae", "nc/vae/", "./nc/unet", "nc/vae/../unet", "link", "nc/text_encoder"],
)
@pytest.mark.parametrize("role", ["init", "vae", "text_encoder"])
def test_a_noncommercial_models_part_is_not_built_on_however_it_is_named(
    role: str, model: str, nc: Path
) -> None:
    for name in (model, str(Path(model).absolute())):
        found = part(role, name, "0")
        with pytest.raises(
            LicenseError, match=rf"{role} .* under CC-BY-NC-2\.0, which policy commercial does not"
        ):
            found.check(Policy.COMMERCIAL, [])
        found.check(Policy.NONCOMMERCIAL, [])
        assert found.origin and found.credits_file == nc / "credits.csv"


@pytest.mark.parametrize("file", ["provenance.json", "README.md"])
def test_a_hub_id_is_known_by_the_files_in_its_root(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--someone--nc", "0" * 40
    (repository / "snapshots" / commit / "unet").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    text = record("CC-BY-NC-2.0") if file == "provenance.json" else "---\nlicense: cc-by-nc-2.0\n---\n"
    (repository / "snapshots" / commit / file).write_text(text)
    (repository / "snapshots" / commit / "credits.csv").touch()
    with pytest.raises(
        LicenseError, match=r"init someone/nc .* CC-BY-NC-2\.0|init someone/nc .*cc-by-nc-2\.0"
    ):
        part("init", "someone/nc", "0").check(Policy.COMMERCIAL, [])


@pytest.mark.parametrize(
    ("front", "license", "commercial"),
    [
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0", False),
        ("license: cc-by-nc-sa-4.0", "cc-by-nc-sa-4.0", False),
        ("license: CC BY-NC-ND 4.0", "CC BY-NC-ND 4.0", False),
        ("license: [mit, cc-by-nc-4.0]", "mit, cc-by-nc-4.0", False),
        (
            "license: other\nlicense_name: flux-1-dev-non-commercial-license",
            "flux-1-dev-non-commercial-license",
            False,
        ),
        (
            "license: other\nlicense_name: stabilityai-nc-research-community",
            "stabilityai-nc-research-community",
            False,
        ),
        ("license: fair-noncommercial-research-license", "fair-noncommercial-research-license", False),
        ("license: intel-research", "intel-research", False),
        ("license: apple-amlr", "apple-amlr", False),
        ("license: openrail++", "openrail++", True),
        ("license: creativeml-openrail-m", "creativeml-openrail-m", True),
        ("license: mit", "mit", True),
        ("license: apache-2.0", "apache-2.0", True),
        ("license: cc-by-sa-4.0", "cc-by-sa-4.0", True),
        ("license: ncsa", "ncsa", True),
        ("license: other", "unknown", True),
        ("license: 3", "unknown", True),
        ("license: [&a [x, x], *a, mit]", "mit", True),
        ("license: other\nlicense_name: [nc]", "unknown", True),
        ("tags: [a]", "unknown", True),
        ("license:", "unknown", True),
        ("license: [", "unknown", True),
        ("a list", "unknown", True),
        (None, "unknown", True),
    ],
)
def test_a_model_cards_licence_is_read_and_decides(
    front: str | None, license: str, commercial: bool, tmp_path: Path
) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "vae").mkdir()
    if front is not None:
        (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# A model\nlicense: cc-by-nc-4.0\n")
    for folder in (tmp_path, tmp_path / "vae"):
        assert card_license(str(folder)) == license
        found = part("vae", str(folder), "0")
        assert found.to_dict()["license"] == license and found.unknown == (license == "unknown")
        assert permits(license, Policy.NONCOMMERCIAL)
        if commercial:
            found.check(Policy.COMMERCIAL, [])
        else:
            with pytest.raises(
                LicenseError, match="in its model card, which policy commercial does not allow"
            ):
                found.check(Policy.COMMERCIAL, [])


def test_a_project_folders_readme_is_no_card_of_a_model_in_it(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (tmp_path / "ae").mkdir()
    assert card_license(str(tmp_path / "ae")) == "unknown"


@pytest.mark.slow
def test_init_from_a_noncommercial_models_network_is_refused_and_an_unknown_licence_is_said(
    shapes: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = train(recipe("xs-autoencoder", tmp_path))
    encode(recipe("xs", tmp_path))
    first = train(recipe("xs", tmp_path))
    assert (
        "states neither a licence" not in capsys.readouterr().err
    )  # MiniLM's is known, and what the VAE learned from
    fields = json.loads((first / "provenance.json").read_text())
    fields["licenses"]["CC-BY-NC-2.0"] = 3
    (first / "provenance.json").write_text(json.dumps(fields))
    again = ["--out", str(tmp_path / "again"), "--data.policy", "commercial", "--init", str(first / "unet")]
    with pytest.raises(LicenseError, match=r"init .*/unet learned from images under CC-BY-NC-2\.0"):
        train(recipe("xs", tmp_path, *again))
    for name in ("provenance.json", "README.md"):  # both state a licence
        (vae / name).unlink()
    (first / "unet").rename(tmp_path / "unet")
    model = train(recipe("xs", tmp_path, *again[:-1], str(tmp_path / "unet")))
    said = " ".join(capsys.readouterr().err.split())
    for role in ("vae", "init"):
        assert f"{role} {tmp_path}" in said
    parts = {one["role"]: one["license"] for one in read_provenance(model)["built_on"]}
    assert parts == {"vae": "unknown", "text_encoder": "apache-2.0", "init": "unknown"}
