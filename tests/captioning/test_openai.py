"""The openai captioner against a real HTTP server on loopback that behaves, and one that does not."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from commoncanvas.captioning import CaptionerConfig, caption, load_captioner
from commoncanvas.captioning import openai as captioner_module
from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.images.image import decode

MODEL = "tiny-vlm"


class Server(ThreadingHTTPServer):
    """Says how wide and high each image is; `trouble` answers (by the number of the try at an image) first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.trouble: dict[int, str] = {}
        self.always: str | None = None
        self.limit = "max_tokens"
        self.temperature: float | None = None
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self.answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions"
        image = body["messages"][0]["content"][0]["image_url"]["url"]
        server = self.server
        with server.lock:
            server.bodies.append(body)
            server.seen[image] += 1
            number = server.seen[image]
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            own = server.temperature
            if own is not None and body.get("temperature", own) != own:
                said = "Unsupported value: 'temperature' does not support 0.0 with this model."
                return self.answer(400, {"error": {"message": said}})
            if server.limit not in body:
                return self.answer(
                    400,
                    {
                        "error": {
                            "message": f"Unsupported parameter: 'max_tokens'. Use '{server.limit}' instead."
                        }
                    },
                )
            time.sleep(0.02)  # as a model takes its time: others come meanwhile
            self.caption(image, server.always or server.trouble.get(number, "well"))
        finally:
            with server.lock:
                server.at_once -= 1

    def caption(self, image: str, how: str) -> None:
        height, width, _ = decode(base64.b64decode(image.partition(",")[2])).shape
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": f" {width} by\n {height} "},
            "finish_reason": "stop",
        }
        match how:
            case "429":
                return self.answer(429, {"error": {"message": "slow down"}}, Retry_After="0.05")
            case "500" | "400":
                return self.answer(int(how), {"error": {"message": "no"}}, retry_after_ms="20")
            case "cut":
                self.wfile.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
                )
                self.close_connection = True
                return None
            case "wrong json":
                return self.answer(200, b'{"choices": [')
            case "no choices":
                return self.answer(200, {"object": "chat.completion", "choices": []})
            case "not json":
                return self.answer(200, b"<html>", Content_Type="text/html")
            case "refusal":
                choice["message"] |= {"content": None, "refusal": "I can't help with that."}
            case "refused in words":
                choice["message"]["content"] = "I'm sorry, but I can't assist with that request."
            case "thoughts":
                choice["message"]["content"] = "<think>one sentence</think> a dog"
            case "filter":
                choice["finish_reason"] = "content_filter"
            case "length":
                choice["finish_reason"] = "length"
            case "nothing":
                choice["message"]["content"] = None
        return self.answer(
            200, {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
        )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.05)
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def config(server: Server, **options: Any) -> CaptionerConfig:
    return CaptionerConfig(MODEL, "openai", base_url=server.url, **{"concurrency": 4} | options)


def test_captions_come_from_the_server_so_many_at_once(shapes: Catalog, server: Server) -> None:
    report = caption(shapes.uri, config(server, prompt="What?", max_tokens=9), where=None)
    rows = Catalog.open(shapes.uri).table(["caption", "width", "height", "caption_model"]).to_pylist()
    assert report.statuses == {"ok": len(rows)}
    for row in rows:
        assert row["caption"] == f"{row['width']} by {row['height']}" and row["caption_model"] == MODEL
    assert 1 < server.most_at_once <= 4
    for body in server.bodies:
        assert (body["model"], body["max_tokens"], body["temperature"]) == (MODEL, 9, 0)
        assert body["messages"][0]["content"][1] == {"type": "text", "text": "What?"}


@pytest.mark.parametrize("trouble", ["429", "500", "cut"])
def test_what_passes_is_waited_out(trouble: str, shapes: Catalog, server: Server) -> None:
    server.trouble = {1: trouble, 2: trouble}
    report = caption(shapes.uri, config(server, concurrency=24), where=None)
    assert report.statuses == {"ok": 24}
    assert set(server.seen.values()) <= {3, 6}  # two of the drawings may be of the same bytes


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        ("429", "http_429"),
        ("500", "http_5xx"),
        ("400", "http_4xx"),
        ("cut", "connection"),
        ("wrong json", "bad_answer"),
        ("no choices", "bad_answer"),
        ("not json", "bad_answer"),
        ("filter", "refused"),
        ("refusal", "refused"),
        ("refused in words", "refused"),
        ("thoughts", "not_a_caption"),
        ("nothing", "empty"),
        ("length", "cut"),
    ],
)
def test_what_stays_is_the_images_own_status_and_can_be_done_again(
    trouble: str, status: str, shapes: Catalog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner_module, "RETRIES", 1)
    some = "label IS NULL AND title LIKE 'red%'"
    count = shapes.count(some)
    assert 0 < count < captioner_module.SILENT
    server.always = trouble
    assert caption(shapes.uri, config(server), where=some).statuses == {status: count}
    captioned = Catalog.open(shapes.uri).count("caption IS NOT NULL")
    assert captioned == (count if status == "cut" else 0)
    server.always = None
    assert caption(shapes.uri, config(server), where=some).captions == 0
    again = caption(shapes.uri, config(server), where=some, retry=[status])
    assert (again.captions, again.statuses) == (count, {"ok": count})


def test_a_server_that_wants_max_completion_tokens_gets_it(shapes: Catalog, server: Server) -> None:
    server.limit = "max_completion_tokens"
    report = caption(shapes.uri, config(server, max_tokens=9), where=None)
    assert report.statuses == {"ok": shapes.count()}
    refused = [body for body in server.bodies if "max_tokens" in body]
    assert 1 <= len(refused) <= 4  # those that were under way at once
    assert {body["max_completion_tokens"] for body in server.bodies if body not in refused} == {9}


def test_what_the_server_said_is_shown_once(
    shapes: Catalog, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.always = "400"
    caption(shapes.uri, config(server), where="label IS NULL AND title LIKE 'red%'")
    said = capsys.readouterr().err
    assert said.count("captions: http_4xx: Error code: 400") == 1 and "no\n" in said


def test_a_server_that_answers_nothing_ends_the_run_and_loses_nothing(
    shapes: Catalog, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captioner_module, "RETRIES", 0)
    some = "title LIKE 'red%' OR title LIKE 'blue%'"
    caption(shapes.uri, config(server, batch_size=8), where="title LIKE 'red%'")
    server.always = "500"
    done = Catalog.open(shapes.uri).count("caption IS NOT NULL")
    with pytest.raises(
        ModelError, match=r"gave no answer for any of \d+ images: .*500.*; earlier captions are kept"
    ):
        caption(shapes.uri, config(server), where=None)
    assert Catalog.open(shapes.uri).count("caption_status IS NOT NULL") == done
    server.always = None
    assert caption(shapes.uri, config(server), where=None).captions == shapes.count() - done
    assert caption(shapes.uri, config(server), where=some).captions == 0


def test_a_server_or_model_that_is_not_there_is_found_before_anything_is_written(
    shapes: Catalog, server: Server
) -> None:
    with pytest.raises(ModelError, match=f"has no model other; it has {MODEL}"):
        load_captioner(replace(config(server), model="other"))
    with pytest.raises(ModelError, match="needs --base-url"):
        load_captioner(replace(config(server), base_url=None))
    with pytest.raises(ModelError, match=r"server at http://127.0.0.1:1/v1 can't be used: .*[Cc]onnection"):
        caption(shapes.uri, replace(config(server), base_url="http://127.0.0.1:1/v1"))
    assert "caption_status" not in Catalog.open(shapes.uri).schema.names


def test_another_prompt_is_another_column(shapes: Catalog, server: Server) -> None:
    caption(shapes.uri, config(server, prompt="Short?"))
    with pytest.raises(CatalogError, match=r"such as caption_tiny_vlm"):
        caption(shapes.uri, config(server, prompt="Long?"))
    caption(shapes.uri, config(server, prompt="Long?"), column="caption_tiny_vlm")
    names = Catalog.open(shapes.uri).schema.names
    assert {"caption", "caption_model", "caption_status", "caption_tiny_vlm"} <= set(names)


def test_the_stage_reaches_a_worker_without_its_connections(shapes: Catalog, server: Server) -> None:
    import pickle

    from commoncanvas.captioning import CaptionStage

    stage = pickle.loads(pickle.dumps(CaptionStage(config(server), "caption")))
    stage.setup()
    batch = shapes.table(["image_id", "image"]).to_batches()[0]
    assert set(stage(batch)["caption_status"].to_pylist()) == {"ok"}


def test_a_model_that_takes_only_its_own_temperature_and_the_other_limit_is_used_and_said(
    shapes: Catalog, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.temperature, server.limit = 1.0, "max_completion_tokens"
    report = caption(shapes.uri, config(server), where=None)
    assert report.statuses == {"ok": shapes.count()}
    assert capsys.readouterr().err.count("only its own temperature") == 1
    server.temperature = 0.7
    with pytest.raises(ModelError, match=r"does not support 0.0"):  # asked for: it isn't left out
        caption(shapes.uri, config(server, temperature=0.5), where=None, column="other")
