"""What the page Draw asks of the server: events, places, files to keep, and the nearest training images."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.core.errors import MissingExtraError
from commoncanvas.drawing import credentials
from commoncanvas.drawing.credentials import has_manifest
from commoncanvas.options.credentials import CredentialOptions
from commoncanvas.options.serve import ServeOptions
from commoncanvas.site.draw.prompts import SHOWN, chosen
from commoncanvas.site.draw.sizes import sizes
from commoncanvas.site.parts import Drawing, Site
from tests.memorisation.conftest import learned as learned  # a fixture
from tests.serving.test_server import Slow
from tests.site.conftest import Open, drawing_of

QUICK = {"prompt": "a red dot", "seed": 3, "steps": 4}
Event = tuple[str, dict[str, Any]]


@pytest.fixture
def small(model: Path) -> Drawing:
    """The tiny model. Three images may wait."""
    return drawing_of(model, limits=ServeOptions(queue=3))


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    kind = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


def drawn(url: str, **asked: Any) -> list[Event]:
    with httpx.stream("POST", f"{url}draw/images", json=QUICK | asked, timeout=60) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return list(events_of(answer.iter_lines()))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def test_each_picture_goes_through_its_steps_to_the_image_of_its_seed(opened: Open, small: Drawing) -> None:
    url = opened(Site(small))
    found = drawn(url, n=2)
    for number in (0, 1):
        mine = [(kind, values) for kind, values in found if values.get("image") == number]
        assert [values["step"] for kind, values in mine if kind == "step"] == [1, 2, 3, 4]
        assert {values["steps"] for kind, values in mine if kind == "step"} == {4}
        previews = [values for kind, values in mine if kind == "preview"]
        assert len(previews) == 3, "after each step but the last"
        assert Image.open(BytesIO(base64.b64decode(previews[0]["jpeg"]))).format == "JPEG"
        kind, done = mine[-1]
        assert kind == "done"
        content = httpx.get(url.rstrip("/") + done["url"]).content
        alone = httpx.post(f"{url}v1/images/generations", json=QUICK | {"seed": 3 + number}, timeout=60)
        again = base64.b64decode(alone.json()["data"][0]["b64_json"])
        assert np.array_equal(pixels(content), pixels(again))
    metrics = httpx.get(f"{url}metrics").text
    assert 'commoncanvas_requests_total{status="200"} 3.0' in metrics


def test_wrong_fields_are_refused_before_anything_is_drawn(opened: Open, small: Drawing) -> None:
    url = opened(Site(small))
    for wrong in ({"n": 11}, {"steps": 0}, {"prompt": ""}, {"prompt": "a" * 4001}, {"colour": "red"}):
        answer = httpx.post(f"{url}draw/images", json=QUICK | wrong)
        assert answer.status_code == 400 and next(iter(wrong)) in answer.json()["error"]["message"]
    unread = drawn(url, prompt="red dot " * 60)[0]
    assert unread[0] == "note" and "does not read" in unread[1]["text"]


def test_places_are_said_a_full_queue_refuses_and_who_leaves_makes_place(
    opened: Open, small: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = opened(Site(small))
    engine, slow = small.studio.engine, Slow(small.studio, monkeypatch)  # type: ignore[arg-type]
    post = f"{url}draw/images"
    with httpx.stream("POST", post, json=QUICK, timeout=60) as first:
        until(lambda: slow.batches)
        with httpx.stream("POST", post, json=QUICK | {"n": 3}, timeout=60) as second:
            waiting = events_of(second.iter_lines())
            places = [next(waiting) for _ in range(3)]
            assert places == [("place", {"image": number, "ahead": number}) for number in range(3)]
            refused = httpx.post(post, json=QUICK)
            assert refused.status_code == 429 and int(refused.headers["retry-after-ms"]) >= 50
        until(lambda: engine.waiting == 0)
        third = httpx.stream("POST", post, json=QUICK, timeout=60)
        with third as accepted:
            slow.go.set()
            assert [kind for kind, _ in events_of(accepted.iter_lines())][-1] == "done"
        assert [kind for kind, _ in events_of(first.iter_lines())][-1] == "done"
    assert "commoncanvas_images_left_total 3.0" in httpx.get(f"{url}metrics").text


def test_downloads_are_signed_though_the_server_signs_nothing(
    opened: Open, small: Drawing, tmp_path: Path
) -> None:
    pytest.importorskip("c2pa")
    url = opened(Site(small))
    assert "Downloads have content credentials" in httpx.get(f"{url}draw").text
    _, done = drawn(url, prompt='../a "dot"\n')[-1]
    kept = httpx.get(f"{url}draw/files/{done['name']}")
    assert kept.headers["content-disposition"] == "attachment; filename*=UTF-8''a-dot-3.png"
    (tmp_path / "kept.png").write_bytes(kept.content)
    assert has_manifest(tmp_path / "kept.png")
    assert Image.open(tmp_path / "kept.png").info["prompt"] == '../a "dot"\n'
    (tmp_path / "shown.png").write_bytes(httpx.get(url.rstrip("/") + done["url"]).content)
    assert not has_manifest(tmp_path / "shown.png")
    missing = httpx.get(f"{url}draw/files/{'0' * 32}.png")
    assert missing.status_code == 404 and "draw it again" in missing.json()["error"]["message"]


def test_a_file_that_the_server_signed_is_downloaded_as_it_is(opened: Open, model: Path) -> None:
    pytest.importorskip("c2pa")
    url = opened(Site(drawing_of(model, CredentialOptions(credentials="on"))))
    _, done = drawn(url)[-1]
    shown = httpx.get(url.rstrip("/") + done["url"])
    assert b"caBX" in shown.content
    assert httpx.get(f"{url}draw/files/{done['name']}").content == shown.content


def test_without_c2pa_the_page_says_that_downloads_are_plain(
    opened: Open, small: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingExtraError("content credentials need: pip install 'commoncanvas[c2pa]'")

    monkeypatch.setattr(credentials, "load_c2pa", missing)
    url = opened(Site(small))
    text = httpx.get(f"{url}draw").text
    assert "Downloads have no content credentials" in text and "commoncanvas[c2pa]" in text
    _, done = drawn(url)[-1]
    plain = httpx.get(f"{url}draw/files/{done['name']}").content
    assert plain == httpx.get(url.rstrip("/") + done["url"]).content
    assert Image.open(BytesIO(plain)).info["seed"] == "3"


def test_without_a_catalog_page_and_api_say_how_to_get_sources(opened: Open, small: Drawing) -> None:
    url = opened(Site(small))
    page = httpx.get(f"{url}draw").text
    assert "does not show the catalog that" in page and "--catalog" in page and "data-nearest" not in page
    answer = httpx.post(f"{url}v1/images/generations", json=QUICK | {"sources": 2})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "sources"
    assert "start it with that catalog: commoncanvas serve" in answer.json()["error"]["message"]
    assert "commoncanvas_images_drawn_total 1.0" in httpx.get(f"{url}metrics").text, "only the warm-up"
    _, done = drawn(url)[-1]
    assert httpx.get(f"{url}draw/sources/{done['name']}").json()["state"] == "none"


def test_a_catalog_that_the_model_did_not_learn_from_is_not_taken_for_its_own(
    opened: Open, model: Path, tmp_path: Path
) -> None:
    from tests.conftest import add_shapes

    other = add_shapes(tmp_path / "other.lance")
    other.dataset.update({"image_id": "concat('other', image_id)"})
    other.refresh()
    drawing = drawing_of(model, catalogs={"other": other})
    assert "does not show the catalog" in drawing.sources.problem


def test_training_images_that_can_not_be_read_are_said_without_folders_of_the_server(
    opened: Open, model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri = shutil.copytree(model.parent / "catalog.lance", tmp_path / "catalog.lance")
    Catalog.open(uri).dataset.update({"fetch_status": "'missing'"})
    site = {"ours": Catalog.open(uri)}
    url = opened(Site(drawing_of(model, catalogs=site), catalogs=site))
    _, done = drawn(url)[-1]
    answer = httpx.get(f"{url}draw/sources/{done['name']}").json()
    assert answer["state"] == "none" and "its log says why" in answer["why"]
    assert httpx.post(f"{url}v1/images/generations", json=QUICK | {"sources": 1}).status_code == 400
    log = capfd.readouterr().err
    assert str(tmp_path) not in json.dumps(answer) and "fetch them, or name its catalog" in log


def of_api(url: str, **asked: Any) -> dict[str, Any]:
    """As a client of OpenAI does: it comes again after 503."""
    end = time.monotonic() + 240
    while True:
        answer = httpx.post(f"{url}v1/images/generations", json=QUICK | asked, timeout=60)
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            return answer.json()
        assert answer.headers["retry-after"] and time.monotonic() < end
        time.sleep(0.5)


@pytest.mark.slow
def test_the_nearest_training_images_come_with_credits_until_they_are_taken_down(
    opened: Open, learned: Path, tmp_path: Path
) -> None:
    catalog = Catalog.open(tmp_path / "catalog.lance")
    site = {"ours": catalog}
    url = opened(Site(drawing_of(learned, catalogs=site), catalogs=site))
    assert "They are not shown" not in httpx.get(f"{url}draw").text
    [image] = of_api(url, sources=3)["data"]
    found = image["sources"]
    assert len(found) == 3 and [each["distance"] for each in found] == sorted(
        each["distance"] for each in found
    )
    first = found[0]
    assert first["catalog"] == "ours" and "painter" in first["credit"] and first["license"].startswith("CC")
    assert 0 <= first["percentile"] <= 100 and first["copy"] in (True, False)
    with httpx.stream(
        "POST",
        f"{url}v1/images/generations",
        json=QUICK | {"sources": 3, "stream": True},
        timeout=60,
    ) as stream:
        kind, last = list(events_of(stream.iter_lines()))[-1]
    assert kind == "image_generation.completed" and last["sources"] == found
    assert httpx.post(f"{url}v1/images/generations", json=QUICK | {"sources": 21}).status_code == 400

    _, done = drawn(url)[-1]
    near = f"{url}draw/sources/{done['name']}"
    page = httpx.get(near).json()
    assert page["state"] == "found" and page["images"][0]["image_id"] == first["image_id"]
    assert page["images"][0]["page"].startswith("/catalog/ours/") and "istance" in page["images"][0]["note"]
    takedown(str(tmp_path / "catalog.lance"), id=(first["image_id"],), reason="asked")
    assert first["image_id"] not in {each["image_id"] for each in httpx.get(near).json()["images"]}


def test_prompts_to_try_are_short_different_texts() -> None:
    texts = ["a fox", "a fox", "x" * 100, None, "", *(f"drawing {number}" for number in range(20))]
    found = chosen(texts)
    assert len(found) == len(set(found)) == SHOWN and set(found) <= set(texts)
    assert found == chosen(reversed(texts)), "the same on each page"


def test_sizes_on_offer_are_within_the_limit_and_not_far_from_a_square() -> None:
    assert sizes(64, 32, 64 * 64) == ["64x64"]
    found = sizes(512, 64, 768 * 768)
    assert found[0] == "512x512" and "768x768" in found and len(found) <= 14 and len(set(found)) == len(found)
    for each in found:
        width, height = map(int, re.findall(r"\d+", each))
        assert width % 64 == height % 64 == 0 and width * height <= 768 * 768
        assert 0.5 <= width / height <= 2
