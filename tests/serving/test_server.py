"""The server keeps what it promises to clients: their own images, clear refusals, and an end without losses."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.core.errors import RecipeError
from commoncanvas.diffusion.sampling import image_size
from commoncanvas.drawing.credentials import has_manifest
from commoncanvas.drawing.generate import generate
from commoncanvas.drawing.model import LoadedModel
from commoncanvas.options.generate import DrawOptions
from commoncanvas.options.serve import ServedCredentials, ServeOptions
from commoncanvas.serving.asked import size_step
from commoncanvas.web.tokens import Tokens, one_token
from tests.serving.conftest import Running, running

IMAGES = "/v1/images/generations"
STEPS = 3
HOSTILE = [
    "<script>alert(1)</script>",
    "\u202edlrow\u202c \x00\x07\x1b[31m",
    "a" * 500,
    "'; DROP TABLE images; --",
    "\U0001f984" * 100,
    "{{7*7}} ${x} %s %n",
    " ",
]


def pixels(found: bytes | str | None) -> NDArray[np.uint8]:
    content = found if isinstance(found, bytes) else base64.b64decode(found or "")
    return np.asarray(Image.open(BytesIO(content)))


def draw(client: openai.OpenAI, prompt: str, seed: int, steps: int = STEPS, **more: Any) -> Any:
    return client.images.generate(prompt=prompt, extra_body={"seed": seed, "steps": steps} | more)


def test_an_image_is_the_one_that_generate_draws_alone_and_beside_15_others(
    served: Running, model: Path
) -> None:
    prompts = [f"a red square {number}" for number in range(16)]
    client = served.openai()
    alone = pixels(draw(client, prompts[5], 105).data[0].b64_json)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda number: draw(client, prompts[number], 100 + number), range(16)))
    made = [pixels(each.data[0].b64_json) for each in found]
    assert np.array_equal(made[5], alone)
    assert len({each.tobytes() for each in made}) == 16, "each client has another image"
    for number in (0, 5, 15):
        [expected] = generate(model, prompts[number], DrawOptions(seed=100 + number, steps=STEPS))
        assert np.array_equal(made[number], np.asarray(expected))
    metrics = served.http().get("/metrics").text
    batches = float(re.findall(r"^commoncanvas_batch_images_count (\S+)", metrics, re.M)[0])
    assert batches < 2 + 16, "requests share batches"
    assert "commoncanvas_images_drawn_total 18.0" in metrics
    assert 'commoncanvas_requests_total{status="200"} 17.0' in metrics


def test_a_server_draws_in_the_precision_that_it_was_told(loaded: LoadedModel, model: Path) -> None:
    with running(loaded, ServeOptions(precision="bf16"), Tokens()) as served:
        found = pixels(draw(served.openai(), "a dot", 4).data[0].b64_json)
    [expected] = generate(model, "a dot", DrawOptions(seed=4, steps=STEPS, precision="bf16"))
    [plain] = generate(model, "a dot", DrawOptions(seed=4, steps=STEPS))
    assert np.array_equal(found, np.asarray(expected)) and not np.array_equal(found, np.asarray(plain))
    with (
        pytest.raises(RecipeError, match="fp16 needs a GPU"),
        running(loaded, ServeOptions(precision="fp16"), Tokens()),
    ):
        pass


def test_n_images_have_consecutive_seeds_and_can_be_fetched_by_url(served: Running) -> None:
    client = served.openai()
    three = client.images.generate(
        prompt="a dot", n=3, response_format="url", extra_body={"seed": 7, "steps": STEPS, "guidance": 2.5}
    )
    assert three.data and [each.model_extra["seed"] for each in three.data if each.model_extra] == [7, 8, 9]
    fetched = [httpx.get(each.url or "") for each in three.data]
    assert {each.headers["content-type"] for each in fetched} == {"image/png"}
    again = draw(client, "a dot", 9, guidance=2.5)
    assert np.array_equal(pixels(fetched[2].content), pixels(again.data[0].b64_json))
    text = Image.open(BytesIO(fetched[2].content)).info
    assert (text["prompt"], text["seed"], text["guidance_scale"]) == ("a dot", "9", "2.5")
    assert served.http().get("/v1/images/files/" + "0" * 32 + ".png").status_code == 404
    unseeded = [client.images.generate(prompt="a dot", extra_body={"steps": 1}) for _ in range(2)]
    assert len({each.data[0].model_extra["seed"] for each in unseeded if each.data}) == 2


def test_a_stream_shows_unfinished_images_and_ends_with_the_same_image(served: Running) -> None:
    client = served.openai()
    events = client.images.generate(
        prompt="a blue bar", stream=True, partial_images=2, extra_body={"seed": 3, "steps": 6}
    )
    found = list(events)
    assert [event.type.partition(".")[2] for event in found] == ["partial_image"] * 2 + ["completed"]
    whole = pixels(draw(client, "a blue bar", 3, steps=6).data[0].b64_json)
    images = [pixels(event.b64_json) for event in found]
    assert np.array_equal(images[-1], whole) and images[0].shape == whole.shape
    apart = [float(np.abs(each.astype(float) - whole).mean()) for each in images]
    assert apart[0] > apart[1] > apart[2] == 0


def test_models_and_errors_have_the_form_that_the_client_reads(served: Running, loaded: LoadedModel) -> None:
    client = served.openai()
    name = loaded.about["model"]
    assert [each.id for each in client.models.list()] == [name] and client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as missing:
        client.images.generate(prompt="a dot", model="dall-e-2")
    assert missing.value.code == "model_not_found"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("steps", {"steps": 101}),
        ("steps", {"steps": 0}),
        ("n", {"n": 11}),
        ("n", {"n": "2"}),
        ("size", {"size": "4096x4096"}),
        ("size", {"size": "33x32"}),
        ("size", {"size": "big"}),
        ("prompt", {"prompt": "a" * 501}),
        ("prompt", {"prompt": ""}),
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**63 - 1, "n": 2}),
        ("guidance", {"guidance": 0.5}),
        ("guidence", {"guidence": 3}),
        ("output_format", {"output_format": "webp"}),
        ("n", {"n": 2, "stream": True}),
        ("partial_images", {"partial_images": 1}),
    ]
    for param, body in wrong:
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.generate(prompt="a dot", extra_body=body)  # type: ignore[call-overload]
        assert refused.value.param == param and refused.value.type == "invalid_request_error", body
    with pytest.raises(openai.BadRequestError, match="guidance scale above 1"):
        draw(client, "a dot", 0, guidance=1, negative_prompt="red")
    half = served.http().post(
        IMAGES, content=b'{"prompt": "\\ud800"}', headers={"content-type": "application/json"}
    )
    assert half.status_code == 400 and half.json()["error"]["param"] == "prompt"


def test_every_size_that_is_accepted_can_be_drawn(loaded: LoadedModel) -> None:
    side, step = image_size(loaded.pipeline), size_step(loaded)
    with running(loaded, ServeOptions(max_pixels=4 * side * side), Tokens()) as served:
        client = served.openai()
        for width, height in ((step, step), (2 * side, side), (side, 2 * side), (side + step, step)):
            made = client.images.generate(
                prompt="a dot", size=f"{width}x{height}", extra_body={"seed": 0, "steps": 1}
            )
            assert made.data and pixels(made.data[0].b64_json).shape == (height, width, 3)


def test_hostile_prompts_are_drawn_and_are_not_in_the_log(
    served: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    client = served.openai()
    for prompt in HOSTILE:
        made = draw(client, prompt, 1, steps=1)
        assert Image.open(BytesIO(base64.b64decode(made.data[0].b64_json))).info["seed"] == "1"
    log = capfd.readouterr().err
    assert '"event": "images"' in log
    assert not [prompt for prompt in HOSTILE[:4] if json.dumps(prompt)[1:-1] in log]


def test_a_long_prompt_is_cut_with_a_warning(served: Running) -> None:
    made = draw(served.openai(), "red square " * 40, 1, steps=1)
    assert "does not read" in made.model_extra["warnings"][0]


def test_images_are_signed_if_asked_for(loaded: LoadedModel, tmp_path: Path) -> None:
    pytest.importorskip("c2pa")
    signed = ServedCredentials(credentials="on")
    with running(loaded, ServeOptions(), Tokens(), credentials=signed) as served:
        made = draw(served.openai(), "a dot", 0, steps=1, n=3)
        for number, each in enumerate(made.data):
            path = tmp_path / f"{number}.png"
            path.write_bytes(base64.b64decode(each.b64_json))
            assert has_manifest(path)


class Slow:
    """Holds the engine in its first batch until `go`."""

    def __init__(self, served: Running, patch: pytest.MonkeyPatch) -> None:
        self.go, self.batches = threading.Event(), list[int]()
        draw = served.engine._images

        def held(batch: Sequence[Any]) -> Any:
            self.batches.append(len(batch))
            assert self.go.wait(60)
            return draw(batch)

        patch.setattr(served.engine, "_images", held)


@pytest.fixture
def slow(served: Running, monkeypatch: pytest.MonkeyPatch) -> Slow:
    return Slow(served, monkeypatch)


def test_a_full_queue_answers_429_and_the_client_comes_back_later(served: Running, slow: Slow) -> None:
    client = served.openai()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(draw, client, "first", 0)
        served.until(lambda: bool(slow.batches))
        waiting = [pool.submit(draw, client, "more", seed, n=8) for seed in (0, 100, 200)]
        served.until(lambda: served.engine.waiting == 24)
        with pytest.raises(openai.RateLimitError) as refused:
            draw(client, "too much", 0)
        headers = refused.value.response.headers
        assert int(headers["retry-after"]) >= 1 and int(headers["retry-after-ms"]) >= 50
        assert refused.value.code == "rate_limit_exceeded"
        patient = pool.submit(draw, served.openai(retries=8), "patient", 0)
        slow.go.set()
        assert len(patient.result().data) == 1 and len(first.result().data) == 1
        assert [len(each.result().data) for each in waiting] == [8, 8, 8]


def test_images_of_a_client_that_leaves_are_not_drawn(served: Running, slow: Slow) -> None:
    client = served.openai()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(draw, client, "first", 0)
        served.until(lambda: bool(slow.batches))
        impatient = openai.OpenAI(base_url=f"{served.url}v1", api_key="none", max_retries=0, timeout=0.3)
        for more in ({}, {"stream": True}):
            with pytest.raises(openai.APITimeoutError):
                list(impatient.images.generate(prompt="b", extra_body={"steps": STEPS}, **more))  # type: ignore[call-overload]
        served.until(lambda: served.engine.waiting == 0)
        slow.go.set()
        assert len(first.result().data) == 1
    metrics = served.http().get("/metrics").text
    assert "commoncanvas_images_left_total 2.0" in metrics and slow.batches == [1]
    assert "commoncanvas_images_drawn_total 2.0" in metrics


def test_a_batch_that_everybody_left_stops_at_the_next_step(served: Running) -> None:
    client = openai.OpenAI(base_url=f"{served.url}v1", api_key="none", max_retries=0)
    with client.images.generate(
        prompt="b", stream=True, partial_images=3, extra_body={"steps": 100}
    ) as events:
        next(iter(events))
    served.until(served.engine.finished)
    served.until(lambda: "commoncanvas_images_left_total 1.0" in served.http().get("/metrics").text)
    assert len(draw(client, "a dot", 0, steps=1).data) == 1


def test_one_image_that_can_not_be_drawn_spoils_no_other(
    served: Running, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = served.engine.model.painter._states

    def broken(prompt: str, *rest: Any) -> Any:
        if prompt == "broken":
            raise RuntimeError("a secret of the server")
        return encode(prompt, *rest)

    monkeypatch.setattr(served.engine.model.painter, "_states", broken)
    client = served.openai()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(draw, client, "first", 0)
        served.until(lambda: bool(slow.batches))
        good = pool.submit(draw, client, "good", 1)
        bad = pool.submit(draw, client, "broken", 1)
        served.until(lambda: served.engine.waiting == 2)
        slow.go.set()
        assert len(first.result().data) == len(good.result().data) == 1
        with pytest.raises(openai.InternalServerError) as failed:
            bad.result()
        assert "secret" not in str(failed.value) and failed.value.type == "server_error"


def test_a_token_is_asked_for_and_nobody_may_fill_the_queue(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    greedy, modest = "token-of-the-greedy", "token-of-the-modest"
    tokens = Tokens({**one_token(greedy).digests, "modest": one_token(modest).digests["token"]})
    with running(loaded, ServeOptions(queue=12), tokens, shared=True) as served:
        with pytest.raises(openai.AuthenticationError) as refused:
            served.openai("unknown").models.list()
        assert refused.value.code == "invalid_api_key"
        assert served.http().get("/metrics").status_code == 401
        assert served.http().get("/health").status_code == served.http().get("/ready").status_code == 200
        slow = Slow(served, monkeypatch)
        with ThreadPoolExecutor(20) as pool:
            first = pool.submit(draw, served.openai(greedy), "first", 0)
            served.until(lambda: bool(slow.batches))
            many = [pool.submit(draw, served.openai(greedy), "g", seed) for seed in range(12)]
            served.until(lambda: sum(each.done() for each in many) == 6)
            other = pool.submit(draw, served.openai(modest), "m", 1)
            served.until(lambda: served.engine.waiting == 7)
            slow.go.set()
            assert len(other.result().data) == len(first.result().data) == 1
            refusals = [error for each in many if (error := each.exception())]
            assert len(refusals) == 6 and all(isinstance(each, openai.RateLimitError) for each in refusals)


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=40),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [
    "prompt",
    "n",
    "size",
    "steps",
    "seed",
    "guidance",
    "negative_prompt",
    "stream",
    "response_format",
    "model",
]
bodies = some.dictionaries(some.sampled_from(FIELDS) | some.text(max_size=8), json_values, max_size=6)


@pytest.mark.slow
def test_no_malformed_request_is_a_server_error(loaded: LoadedModel) -> None:
    limits = ServeOptions(max_steps=1, max_n=2)
    with running(loaded, limits, Tokens()) as served, served.http() as client:

        @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
        @given(
            some.one_of(
                bodies.map(lambda body: json.dumps(body).encode()),
                some.binary(max_size=60),
                some.integers(1, 20_000).map(lambda depth: b"[" * depth),
            ),
            some.sampled_from(["application/json", "text/plain", "application/x-www-form-urlencoded", ""]),
        )
        def ask(content: bytes, kind: str) -> None:
            answer = client.post(IMAGES, content=content, headers={"content-type": kind})
            assert answer.status_code in (200, 400, 404, 413, 429), (answer.status_code, answer.text)
            if answer.status_code != 200:
                assert answer.json()["error"]["message"]

        ask()
        for host in ("[", "a b", "x" * 300, "[::1", "evil.example", '"><script>'):
            assert client.get("/v1/models", headers={"host": host}).status_code in (400, 421)
        assert client.get("/v1/models/%ed%a0%80").status_code == 404
        assert client.get("/ready").status_code == 200


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")
def test_sigterm_finishes_what_was_accepted_and_refuses_the_rest(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "commoncanvas", "serve", str(model), "--port", "0", "--queue", "48"]
    with log.open("w") as file:
        process = subprocess.Popen([*command, "--max-steps", "1000"], stderr=file)
    try:
        served = Running("", None)  # type: ignore[arg-type]
        served.until(lambda: "serving at:" in log.read_text() or process.poll() is not None, 120)
        served.url = re.findall(r"serving at: (\S+)", log.read_text())[0]
        client, http = served.openai(), served.http()
        with ThreadPoolExecutor(6) as pool:
            accepted = [pool.submit(draw, client, "slow", 10 * seed, steps=40, n=10) for seed in range(4)]
            served.until(lambda: "commoncanvas_images_waiting 3" in http.get("/metrics").text)
            process.send_signal(signal.SIGTERM)
            served.until(lambda: http.get("/ready").status_code == 503)
            assert http.get("/health").status_code == 200
            with pytest.raises(openai.InternalServerError) as refused:
                draw(client, "late", 0)
            assert refused.value.status_code == 503 and "retry-after" in refused.value.response.headers
            assert [len(each.result().data) for each in accepted] == [10] * 4
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert "Traceback" not in log.read_text()
