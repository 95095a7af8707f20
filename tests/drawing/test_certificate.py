"""Certificates: those that may sign, those that may not with the reason, and this machine's own."""

from __future__ import annotations

import stat
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import PrivateFormat
from PIL import Image

from commoncanvas.core.errors import CredentialError
from commoncanvas.drawing.certificate import PURPOSES, read_identity
from commoncanvas.drawing.credentials import SETTINGS, Signer, manifest_of
from commoncanvas.drawing.own_certificate import AUTHORITY, CHAIN, KEY, own_folder, own_identity
from tests.drawing.certificates import CODE_SIGNING, issue

ABOUT = {"model": "xs", "model_sha256": "ab" * 32}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of settings."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path / "settings"


def png() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def state(signed: bytes, authority: Path) -> str | None:
    trust = SETTINGS["trust"] | {"trust_anchors": authority.read_text()}
    with c2pa.Context.from_dict(SETTINGS | {"trust": trust}) as context:
        return c2pa.Reader("image/png", BytesIO(signed), context=context).get_validation_state()


@pytest.mark.parametrize("kind", ["es256", "es384", "es512", "ps256", "ed25519"])
def test_the_kind_of_key_decides_the_algorithm(tmp_path: Path, kind: str) -> None:
    files = issue(tmp_path, kind)
    identity = read_identity(files.certificate, files.key)
    assert (identity.algorithm, identity.name) == (kind, "Museum of Examples")
    signed = Signer(identity).sign(png(), manifest_of(ABOUT, None))
    assert state(signed, files.authority) == "Trusted"
    assert state(signed, issue(tmp_path / "other").authority) == "Valid"


@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_purpose_that_c2pa_names_may_sign(tmp_path: Path, purpose: str) -> None:
    files = issue(tmp_path, purposes=[purpose])
    signed = Signer(read_identity(files.certificate, files.key)).sign(png(), manifest_of(ABOUT, None))
    assert state(signed, files.authority) == "Trusted"


def test_a_key_in_an_older_form_is_read(tmp_path: Path) -> None:
    files = issue(tmp_path, key_format=PrivateFormat.TraditionalOpenSSL)
    assert b"BEGIN EC PRIVATE KEY" in files.key.read_bytes()
    Signer(read_identity(files.certificate, files.key))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"days": (-9, -1)}, r"chain\.pem can't sign content credentials: it expired on \d{4}-\d\d-\d\d$"),
        ({"days": (1, 9)}, r"it is valid only from \d{4}-\d\d-\d\d on$"),
        (
            {"purposes": [CODE_SIGNING]},
            "extended key usage has none of c2pa-kp-claimSigning, emailProtection",
        ),
        ({"purposes": []}, "extended key usage has none of"),
        ({"usage": "key_agreement"}, "key usage lacks digitalSignature$"),
        ({"authority_id": False}, "it has no authority key identifier$"),
        (
            {"kind": "k1"},
            r"signer\.key is a key that content credentials don't allow; use one for the curve P-256",
        ),
        ({"kind": "short"}, "RSA with 2,048 bits or more"),
        ({"password": b"secret"}, r"signer\.key is encrypted; decrypt it first"),
    ],
)
def test_a_certificate_that_may_not_sign_is_told_why(
    tmp_path: Path, wrong: dict[str, object], says: str
) -> None:
    files = issue(tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(CredentialError, match=says) as error:
        read_identity(files.certificate, files.key)
    assert_no_key_in(str(error.value), files.key)


def test_files_that_do_not_belong_together_are_told_apart(tmp_path: Path) -> None:
    one, other = issue(tmp_path / "one"), issue(tmp_path / "other")
    chain, key = one.certificate.read_bytes(), one.key.read_bytes()
    (tmp_path / "backwards.pem").write_bytes(one.authority.read_bytes() + chain)
    (tmp_path / "strange.pem").write_bytes(
        chain.replace(one.authority.read_bytes(), other.authority.read_bytes())
    )
    (tmp_path / "cut.key").write_bytes(key[: len(key) // 2])
    for certificate, private, says in [
        (one.certificate, other.key, "is not the key of the first certificate in"),
        (tmp_path / "backwards.pem", one.key, "is not the key of the first certificate"),
        (tmp_path / "strange.pem", one.key, r"its certificate 2 did not issue certificate 1$"),
        (one.key, one.key, r"signer\.key has no certificate in PEM form$"),
        (one.certificate, one.certificate, r"chain\.pem has no private key in PEM form$"),
        (one.certificate, tmp_path / "cut.key", r"cut\.key has no private key in PEM form$"),
        (tmp_path / "none.pem", one.key, r"none\.pem: no such file"),
    ]:
        with pytest.raises(CredentialError, match=says) as error:
            read_identity(certificate, private)
        assert "\n" not in str(error.value)
        assert_no_key_in(str(error.value), one.key)
    assert_no_key_in(repr(read_identity(one.certificate, one.key)), one.key)


def assert_no_key_in(text: str, key: Path) -> None:
    lines = [line for line in key.read_text().splitlines() if "-----" not in line]
    assert lines and not any(line[:12] in text for line in lines)


def test_the_own_certificate_says_what_it_is_and_only_its_owner_reads_the_key(empty: Path) -> None:
    identity = own_identity()
    folder = own_folder()
    assert folder == empty / "commoncanvas" / "credentials"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / KEY).stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == sorted([CHAIN, KEY, AUTHORITY])
    assert [path.name for path in folder.parent.iterdir()] == ["credentials"]
    signer, authority = x509.load_pem_x509_certificates((folder / CHAIN).read_bytes())
    assert "self-signed" in signer.subject.rfc4514_string() and signer.issuer == authority.subject
    assert (signer.not_valid_after_utc - signer.not_valid_before_utc).days > 3600
    assert own_identity() == identity
    assert state(Signer(identity).sign(png(), manifest_of(ABOUT, None)), folder / AUTHORITY) == "Trusted"


def test_processes_that_need_it_first_at_the_same_time_get_the_same_one(empty: Path) -> None:
    code = (
        "import sys; from commoncanvas.drawing.own_certificate import own_identity\n"
        "print('ready', flush=True); sys.stdin.readline(); sys.stdout.buffer.write(own_identity().key)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for one in started:
        assert one.stdout and one.stdout.readline() == b"ready\n"
    for one in started:
        assert one.stdin
        one.stdin.write(b"\n")
        one.stdin.flush()
    keys = {one.communicate()[0] for one in started}
    assert len(keys) == 1 and next(iter(keys)).startswith(b"-----BEGIN PRIVATE KEY-----")
    assert [path.name for path in (empty / "commoncanvas").iterdir()] == ["credentials"]


def test_a_stop_while_it_is_made_leaves_nothing_that_counts(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        assert (folder / KEY).is_file()
        raise OSError(28, "No space left on device", str(folder))

    with monkeypatch.context() as patch:
        patch.setattr("commoncanvas.drawing.own_certificate.sync", full)
        with pytest.raises(CredentialError, match="no space left on device; free space there"):
            own_identity()
    assert not list((empty / "commoncanvas").iterdir())
    own_identity()


def test_an_own_certificate_that_has_expired_or_lost_its_key_says_how_to_get_another(empty: Path) -> None:
    own_identity()
    folder = own_folder()
    (folder / KEY).unlink()
    with pytest.raises(
        CredentialError, match=r"key\.pem: no such file .*; move .*credentials away, and the next"
    ):
        own_identity()
    old = issue(empty / "old", days=(-9, -1))
    old.certificate.rename(folder / CHAIN)
    old.key.rename(folder / KEY)
    with pytest.raises(CredentialError, match=r"it expired on .*; move .*credentials away, and the next run"):
        own_identity()
    folder.rename(empty / "away")
    own_identity()


def test_a_folder_of_settings_that_is_not_a_whole_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert own_folder() == tmp_path / ".config" / "commoncanvas" / "credentials"
