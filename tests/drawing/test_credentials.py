"""Content credentials: what generate signs, and what is read back from its files and those of others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import c2pa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import commoncanvas
from commoncanvas.core.errors import CredentialError, MissingExtraError
from commoncanvas.drawing.credentials import SETTINGS, Signer, has_manifest, manifest_of
from commoncanvas.drawing.generate import drawn, generate
from commoncanvas.drawing.own_certificate import AUTHORITY, own_folder, own_identity
from commoncanvas.drawing.reading import _summary, credentials
from commoncanvas.drawing.requests import requests_of
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.generate import DrawOptions
from commoncanvas.provenance.record_file import read_provenance
from tests.drawing.certificates import issue

FEW = DrawOptions(guidance_scale=2.0, steps=1, negative_prompt="no hats")
ON, OFF = CredentialOptions(credentials="on"), CredentialOptions(credentials="off")
PROMPT = "Zanzibar, a very private dog"


@pytest.fixture(scope="module")
def signed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed image and a signed sheet; to be read only."""
    folder = tmp_path_factory.mktemp("signed")
    (image,) = generate(model, PROMPT, FEW, out=folder / "made", grid=folder / "sheet.png", credentials=ON)
    Path(image.info["file"]).rename(folder / "image.png")
    return folder


@pytest.mark.parametrize("name", ["image.png", "sheet.png"])
def test_c2pa_reads_which_model_drew_an_image_and_no_word_of_its_prompt(
    signed: Path, model: Path, name: str
) -> None:
    with c2pa.Reader(signed / name) as reader:
        assert reader.get_validation_state() == "Valid"
        text = reader.json()
    manifest = json.loads(text)["manifests"][json.loads(text)["active_manifest"]]
    data = {each["label"]: each["data"] for each in manifest["assertions"]}
    record = read_provenance(model)
    assert data["c2pa.actions.v2"]["actions"] == [
        {
            "action": "c2pa.created",
            "softwareAgent": {"name": "commoncanvas", "version": commoncanvas.__version__},
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        }
    ]
    assert data["c2pa.ai-disclosure"]["modelName"] == model.name
    with Image.open(signed / "image.png") as image:
        digest = image.text["model_sha256"]
    assert data["c2pa.ai-disclosure"]["modelIdentifier"] == f"sha256:{digest}"
    assert data["commoncanvas.model"] == {
        "license": record["result_license"],
        "catalogs": {"main": record["catalogs"]["main"]["tag"]},
    }
    assert not {"title", "thumbnail", "ingredients"} & set(manifest)
    assert not re.search(r"zanzibar|private|hats|/tmp", text, re.IGNORECASE)
    assert "time" not in manifest["signature_info"]


def test_signing_changes_neither_pixels_nor_texts(signed: Path, model: Path, tmp_path: Path) -> None:
    (image,) = generate(model, PROMPT, FEW, out=tmp_path, credentials=OFF)
    with Image.open(image.info["file"]) as plain, Image.open(signed / "image.png") as ours:
        assert (np.asarray(plain) == np.asarray(ours)).all()
        assert plain.text == ours.text and ours.text["parameters"].startswith(PROMPT)
    assert has_manifest(signed / "image.png") and not has_manifest(Path(image.info["file"]))


def test_what_is_read_back_is_a_table_and_a_record(signed: Path, model: Path) -> None:
    found = commoncanvas.credentials(signed / "image.png")
    assert found.state == "valid" and found.problems == ()
    assert found.signed_by and "self-signed" in found.signed_by
    assert found.software == f"commoncanvas {commoncanvas.__version__}"
    assert found.to_dict()["catalogs"] == {"main": read_provenance(model)["catalogs"]["main"]["tag"]}
    shown = " ".join(str(found).split())
    assert "valid: not changed since it was signed; who signed is not checked" in shown
    assert "trainedAlgorithmicMedia (drawn by a model)" in shown and found.model_sha256[:40] in shown
    trusted = credentials(signed / "image.png", trust=own_folder() / AUTHORITY)
    assert trusted.state == "trusted" and trusted.problems == ()


def test_a_signer_that_is_not_trusted_is_a_problem_if_one_asks(signed: Path, tmp_path: Path) -> None:
    other = issue(tmp_path).authority
    found = credentials(signed / "image.png", trust=other)
    assert found.state == "valid"
    assert found.problems == (f"the signer is under none of the certificates in {other}",)
    for wrong, says in [
        ("none.pem", "no such file"),
        ("image.png", "not a PEM file"),
        ("a.txt", "no certificate"),
    ]:
        (tmp_path / "a.txt").write_text("hello")
        (tmp_path / "image.png").write_bytes((signed / "image.png").read_bytes())
        with pytest.raises(CredentialError, match=says):
            credentials(signed / "image.png", trust=tmp_path / wrong)


def change_pixel(png: bytes) -> bytes:
    with Image.open(BytesIO(png)) as image:
        pixels = np.array(image)
    pixels[3, 3] ^= 1
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    manifest = png.index(b"caBX") - 4
    size = int.from_bytes(png[manifest : manifest + 4]) + 12
    return file.getvalue()[:33] + png[manifest : manifest + size] + file.getvalue()[33:]


CHANGES = {
    "a pixel": change_pixel,
    "a text": lambda png: png.replace(b"Zanzibar", b"Madagask"),
    "something added": lambda png: png + b"more",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_found_out(signed: Path, tmp_path: Path, change: str) -> None:
    path = tmp_path / "changed.png"
    path.write_bytes(CHANGES[change]((signed / "image.png").read_bytes()))
    found = credentials(path)
    assert (found.state, found.problems) == ("invalid", ("the file was changed after it was signed",))


def test_changed_credentials_are_found_out(signed: Path, tmp_path: Path) -> None:
    path = tmp_path / "changed.png"
    path.write_bytes(
        (signed / "image.png").read_bytes().replace(b"trainedAlgorithmicMedia", b"humanEdits".ljust(23, b"."))
    )
    found = credentials(path)
    assert (found.state, found.problems) == (
        "invalid",
        ("the credentials were changed after they were signed",),
    )


def test_the_command_reads_many_and_fails_if_one_does_not_hold(signed: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.png"
    changed.write_bytes(change_pixel((signed / "image.png").read_bytes()))

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "commoncanvas", "credentials", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True)

    fine = run("--json", signed / "image.png", signed / "sheet.png")
    assert fine.returncode == 0
    assert [each["state"] for each in json.loads(fine.stdout)] == ["valid", "valid"]
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    wrong = run(signed / "image.png", changed, tmp_path / "plain.png")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1
    assert wrong.stderr.endswith("changed.png has no credentials that hold, and 1 other image\n")
    assert "the file was changed after it was signed" in wrong.stdout
    assert "the file has no content credentials" in wrong.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"hello", "its content credentials can't be read"),
        (b"", "its content credentials can't be read"),
        ("cut", "its content credentials can't be read"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    signed: Path, tmp_path: Path, content: bytes | str | None, says: str
) -> None:
    path = tmp_path / "image.png"
    if content == "cut":
        path.write_bytes((signed / "image.png").read_bytes()[:1500])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(CredentialError, match=rf"image\.png:? .*{says}"):
        credentials(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["label", "data", "actions", "action", "catalogs", "code", "name", "digitalSourceType"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_a_strangers_manifest_may_hold_anything(value: Any) -> None:
    labels = ("c2pa.actions", "c2pa.ai-disclosure", "commoncanvas.model")
    manifest = {
        "assertions": [{"label": label, "data": value} for label in labels],
        "signature_info": value,
        "claim_generator_info": value,
    }
    for store in (
        {"active_manifest": "a", "manifests": {"a": manifest}, "validation_status": [value]},
        {"a": value},
    ):
        assert str(_summary("image.png", store, asked=None))


def test_nothing_is_fetched_from_an_address_in_a_file(tmp_path: Path) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None: ...

    plain, out = BytesIO(), BytesIO()
    Image.new("RGB", (4, 4)).save(plain, "PNG")
    identity = own_identity()
    info = c2pa.C2paSignerInfo(identity.algorithm, identity.chain, identity.key, None)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with c2pa.Builder(manifest_of({"model": "m", "model_sha256": "0"}, None)) as builder:
            builder.set_no_embed()
            builder.set_remote_url(f"http://127.0.0.1:{server.server_port}/secret")
            builder.sign(c2pa.Signer.from_info(info), "image/png", BytesIO(plain.getvalue()), out)
        path = tmp_path / "remote.png"
        path.write_bytes(out.getvalue())
        with pytest.raises(CredentialError, match="must fetch remote manifests"):
            credentials(path)
        assert not has_manifest(path) and asked == []
        with pytest.raises(c2pa.C2paError):
            c2pa.Reader("image/png", BytesIO(out.getvalue()))
        assert asked == ["/secret"]
        server.shutdown()


def test_a_museum_signs_with_its_own_certificate(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = issue(tmp_path / "keys", "ps256")
    theirs = CredentialOptions(certificate=str(files.certificate), key=str(files.key))
    (image,) = generate(model, "a dog", FEW, out=tmp_path, credentials=theirs)
    found = credentials(image.info["file"], trust=files.authority)
    assert (found.state, found.signed_by) == ("trusted", "Museum of Examples")
    assert "self-signed" not in capsys.readouterr().err


def test_who_signs_without_a_certificate_is_told_what_that_is_worth(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(model, "a dog", FEW, out=tmp_path)
    said = capsys.readouterr().err
    assert said.count("self-signed certificate") == 1
    assert "it shows that an image was not changed, not who made it" in said
    generate(model, "a dog", FEW)  # nothing is written, so nothing is signed
    assert "signed" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (CredentialOptions(certificate="a.pem"), "a certificate and its key belong together"),
        (CredentialOptions(key="a.key"), "a certificate and its key belong together"),
        (CredentialOptions(credentials="off", certificate="a.pem", key="a.key"), "but credentials are off"),
        (CredentialOptions(certificate="a.pem", key="a.key"), r"a\.pem: no such file"),
    ],
)
def test_options_that_cannot_be_used_are_told_before_the_model_is_loaded(
    tmp_path: Path, options: CredentialOptions, says: str
) -> None:
    with pytest.raises(CredentialError, match=says):
        generate(tmp_path / "no model", "a dog", FEW, out=tmp_path, credentials=options)


@pytest.fixture
def without_c2pa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)


@pytest.mark.usefixtures("without_c2pa")
def test_without_the_package_images_are_written_and_one_line_says_so(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = generate(model, ["a dog", "a cat"], FEW, out=tmp_path)
    assert len(images) == 2 and b"caBX" not in Path(images[0].info["file"]).read_bytes()
    said = capsys.readouterr().err
    assert (
        said.count("c2pa") == 2 and "pip install 'commoncanvas[c2pa]'" in said and "--credentials off" in said
    )
    generate(model, "a dog", FEW, out=tmp_path, credentials=OFF)
    assert "c2pa" not in capsys.readouterr().err
    for wanted in (ON, CredentialOptions(certificate="a.pem", key="a.key")):
        with pytest.raises((MissingExtraError, CredentialError)):
            generate(model, "a dog", FEW, out=tmp_path, credentials=wanted)
    with pytest.raises(MissingExtraError, match=r"pip install 'commoncanvas\[c2pa\]'"):
        credentials(images[0].info["file"])


def test_a_home_that_cannot_be_written_stops_only_those_who_want_credentials(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings").write_text("a file, not a folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (image,) = generate(model, "a dog", FEW, out=tmp_path / "out")
    assert Path(image.info["file"]).is_file()
    assert "images get no content credentials: " in capsys.readouterr().err
    with pytest.raises(CredentialError, match="settings"):
        generate(model, "a dog", FEW, out=tmp_path / "out", credentials=ON)


@pytest.mark.parametrize(("first", "then"), [(ON, ON), (ON, OFF), (OFF, ON), (OFF, OFF)])
def test_a_list_goes_on_whether_its_images_are_signed_or_not(
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    first: CredentialOptions,
    then: CredentialOptions,
) -> None:
    requests = requests_of(["a dog", "a cat", "a bird"], None, FEW)
    for _ in zip(range(2), drawn(model, requests, tmp_path, None, first), strict=False):
        pass
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(before) == 2
    capsys.readouterr()
    images = list(drawn(model, requests, tmp_path, None, then))
    assert len(list(tmp_path.iterdir())) == 3
    assert all(path.read_bytes() == content for path, content in before.items())
    assert has_manifest(Path(images[2].info["file"])) == (then is ON)
    told = capsys.readouterr().err
    assert told.count("was drawn before without content credentials; ") == ((first, then) == (OFF, ON))
    assert told.count("with content credentials, and keeps them; ") == ((first, then) == (ON, OFF))


def test_a_signature_that_fails_leaves_no_file_and_the_next_run_finishes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, calls = Signer.sign, iter(range(9))

    def third_fails(self: Signer, png: bytes, manifest: dict[str, Any]) -> bytes:
        return sign(self, b"no png" if next(calls) == 2 else png, manifest)

    with monkeypatch.context() as patch:
        patch.setattr(Signer, "sign", third_fails)  # the first is the trial
        with pytest.raises(
            CredentialError, match="c2pa can't sign with the certificate CommonCanvas self-signed"
        ):
            generate(model, ["a dog", "a cat"], FEW, out=tmp_path, credentials=ON)
    assert [path.name for path in tmp_path.iterdir()] == ["a-dog-0.png"]
    images = generate(model, ["a dog", "a cat"], FEW, out=tmp_path, credentials=ON)
    assert all(credentials(image.info["file"]).state == "valid" for image in images)


def test_a_model_without_a_record_is_signed_with_what_is_known() -> None:
    labels = [each["label"] for each in manifest_of({"model": "sd", "model_sha256": "0"}, None)["assertions"]]
    assert labels == ["c2pa.actions.v2", "c2pa.ai-disclosure"]
    assert SETTINGS["core"]["allowed_network_hosts"] == []
