"""A folder is sent to the hub as it is, after it was shown and somebody has agreed; the token is never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.release.hub import TOKEN, Hub, serving

pytestmark = pytest.mark.slow
CODE = """
import sys
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.release import push
try:
    agreed = push.show if "yes" in sys.argv else None
    print("sent", push.push(
        sys.argv[1], "ann/xs", kind="dataset" if "dataset" in sys.argv else "model",
        private="private" in sys.argv, agreed=agreed,
    ))
except CommonCanvasError as error:
    print("error", error)
"""


def push(folder: Path, hub: Hub, *words: str, token: str = TOKEN) -> str:
    """What is printed. In a process of its own: the client reads the hub's address when it is imported."""
    # A proxy or a token of this machine's own must have no effect.
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
    env = known | {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder.parent / "hf"), "HOME": str(folder.parent)}
    env |= {"HF_TOKEN": token} if token else {}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder), *words],
        env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=True,
    )  # fmt: skip
    shown = done.stdout + done.stderr
    assert TOKEN not in shown
    return shown


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "release"
    (made / "credits").mkdir(parents=True)
    (made / ".eval_results").mkdir()
    for name in ("README.md", "credits/rows-0.js", "credits/rows-1.js", ".eval_results/commoncanvas.yaml"):
        (made / name).write_text(f"text of {name}\n")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_nothing_is_sent_before_somebody_agrees(folder: Path) -> None:
    with serving() as hub:
        shown = push(folder, hub)
        assert "to send: 5 files, 10.3 KB" in shown and "model ann/xs at" in shown
        assert "will be made; public: everyone can see it" in shown and "model.safetensors" in shown
        assert "error nothing was sent" in shown and "--yes" in shown
        assert {method for method, _ in hub.asked} == {"GET"} and not hub.repos


def test_all_files_arrive_and_a_second_time_only_what_changed(folder: Path) -> None:
    with serving() as hub:
        assert f"sent {hub.url}/ann/xs/commit/" in push(folder, hub, "yes", "private")
        assert hub.files["ann/xs"] == contents(folder) and hub.repos["ann/xs"] == {"private": True}
        assert f"sent {hub.url}/ann/xs/commit/" in push(folder, hub, "yes") and hub.commits == 1, (
            "all is there"
        )
        hub.files["ann/xs"]["notes.md"] = b"the publisher's own"
        (folder / "credits/rows-1.js").unlink()
        (folder / "README.md").write_text("changed")
        shown = push(folder, hub, "yes", "private")
        assert "which exists; private" in shown
        assert hub.files["ann/xs"] == contents(folder) | {"notes.md": b"the publisher's own"}


def test_a_data_set_is_sent_without_what_only_a_later_release_needs(folder: Path) -> None:
    sent = contents(folder)
    (folder / ".export").mkdir()
    (folder / ".export/state.json").write_text("{}")
    with serving() as hub:
        shown = push(folder, hub, "yes", "dataset")
        assert "to send: 5 files" in shown and "to: dataset ann/xs" in shown
        assert hub.files["ann/xs"] == sent


def test_a_refused_upload_says_why_and_goes_on_later(folder: Path) -> None:
    with serving() as hub:
        hub.refuses = 403
        shown = push(folder, hub, "yes")
        assert "error ann/xs can't be sent: the token may not write there" in shown
        hub.refuses = 413
        assert "(token)" in push(folder, hub, "yes") and not hub.commits
        hub.refuses = None
        assert "sent http" in push(folder, hub, "yes") and hub.files["ann/xs"] == contents(folder)


def test_a_public_repository_does_not_get_what_should_be_private(folder: Path) -> None:
    with serving() as hub:
        hub.repos["ann/xs"], hub.files["ann/xs"] = {"private": False}, {}
        assert "error ann/xs is public already, not private" in push(folder, hub, "yes", "private")
        assert not hub.commits


def test_a_wrong_or_missing_token_is_named(folder: Path) -> None:
    with serving() as hub:
        assert "the hub doesn't know the token; run hf auth login again" in push(
            folder, hub, "yes", token="hf_x"
        )
        assert "there is no token for the hub; run hf auth login" in push(folder, hub, "yes", token="")
