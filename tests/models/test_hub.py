"""The hub that isn't reached, doesn't answer, or has no such model: one quick check, one line with the true cause."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from huggingface_hub import constants

from commoncanvas.captioning import CaptionerConfig, load_captioner
from commoncanvas.core.errors import ModelError
from commoncanvas.models import hub
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.models.vae import load_vae
from tests.encoding import models


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache of the hub's, and no memory of whether it answered."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    hub._unreachable.cache_clear()
    yield folder
    hub._unreachable.cache_clear()


def online(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    files = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    online(monkeypatch, endpoint)
    return endpoint


LOADS = {
    "VAE": load_vae,
    "text encoder": lambda model: TextEncoder(model, 8),
    "captioner": lambda model: load_captioner(CaptionerConfig(model, "blip2")),
}


@pytest.mark.parametrize("what", LOADS)
def test_without_a_network_a_hub_id_is_refused_at_once_with_the_cause(what: str, no_network: str) -> None:
    start = time.monotonic()
    with pytest.raises(ModelError) as caught:
        LOADS[what]("someone/model")
    assert time.monotonic() - start < 10  # the hub's own client tries for 23 s, and that a file
    message = str(caught.value)
    assert message.startswith(
        f"{what} someone/model: there is no such folder, it is not in the hub's cache, and {no_network} can't"
    )
    assert "refused" in message and "\n" not in message


def test_offline_by_choice_is_said_as_such() -> None:
    with pytest.raises(ModelError, match="not in the hub's cache, and HF_HUB_OFFLINE is set;"):
        load_vae("someone/model")


def test_a_hub_that_is_silent_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        online(monkeypatch, f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        for _ in range(20):
            with pytest.raises(ModelError, match=r"can't be reached \(.*timed out"):
                load_vae("someone/model")
        assert time.monotonic() - start < 3


def test_what_is_in_the_cache_is_read_without_a_network(cache: Path, no_network: str, tmp_path: Path) -> None:
    snapshot = cache / "models--someone--tiny" / "snapshots" / ("0" * 40)
    models.vae().save_pretrained(snapshot)
    refs = cache / "models--someone--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0" * 40)
    start = time.monotonic()
    assert load_vae("someone/tiny").config.latent_channels == 4
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "model", ["./ae", "/nowhere/ae", "../ae", "~/ae", "runs/2026/ae", "runs/ae", "C:\\ae", "a b/c", "here/ae"]
)
def test_what_looks_like_a_path_is_no_hub_id(
    model: str, no_network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("runs", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "unreachable", lambda: pytest.fail("the hub was asked"))
    with pytest.raises(ModelError) as caught:
        load_vae(model)
    assert str(caught.value) == (
        f"VAE {model}: there is no such folder; train or download it, or give another folder"
    )


def test_a_model_whose_recipe_is_here_is_to_be_trained_first(
    no_network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "unreachable", lambda: pytest.fail("the hub was asked"))
    (tmp_path / "ours ae.yaml").touch()
    with pytest.raises(ModelError) as caught:
        load_vae("ours ae")
    assert str(caught.value) == (
        "VAE ours ae is not trained yet; train it first: commoncanvas train 'ours ae.yaml'"
    )


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (404, "RepoNotFound", "the hub has no such model that you can access"),
        (401, "RepoNotFound", "the hub has no such model that you can access"),
        (403, "GatedRepo", r"you must accept its terms at https://huggingface\.co/someone/model"),
    ],
)
def test_what_the_hub_says_of_a_model_is_said(
    status: int, code: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status if "someone" in self.path else 200)
            self.send_header("X-Error-Code", code)
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        online(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(ModelError, match=says):
            load_vae("someone/model")
        server.shutdown()
