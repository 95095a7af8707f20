"""*Look up*: any picture leads to its creator and to the models that saw it, and to nothing else on this machine."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from starlette.exceptions import HTTPException

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.drawing.credentials import Signer, manifest_of
from commoncanvas.drawing.own_certificate import own_identity
from commoncanvas.drawing.png import encoded, texts_of
from commoncanvas.images.image import encode_image, image_columns
from commoncanvas.images.image import load as load_image
from commoncanvas.site.lookup.desk import MOST, Desk
from commoncanvas.site.lookup.pages import MOST_BYTES
from commoncanvas.site.parts import Site
from commoncanvas.table.schema import to_batch
from tests.site.conftest import Open
from tests.web.browser import DESK, HOSTILE, PHONE, audit, picture


def scene(seed: int) -> Image.Image:
    """A picture of its own: coloured shapes at random places."""
    draw = np.random.default_rng(seed)
    made = Image.new("RGB", (240, 180), tuple(draw.integers(0, 256, 3).tolist()))
    pen = ImageDraw.Draw(made)
    for _ in range(12):
        x, y = draw.integers(0, 200), draw.integers(0, 140)
        box = (int(x), int(y), int(x + draw.integers(20, 90)), int(y + draw.integers(20, 90)))
        (pen.ellipse if draw.random() < 0.5 else pen.rectangle)(box, tuple(draw.integers(0, 256, 3).tolist()))
    return made


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def catalog_of(folder: Path, numbers: range, **texts: str) -> Catalog:
    """A catalog of scenes `s:NUMBER`."""
    rows = []
    for number in numbers:
        file = file_of(scene(number))
        array, header = load_image(file, 512)
        row = {"image_id": f"s:{number}", "source": "s", "title": f"scene {number}", "creator": "Ada"}
        row |= {"page_url": f"https://example.org/{number}", "license": "CC-BY-4.0"}
        rows.append(row | texts | image_columns(file, header, array, encode_image(array, "png")))
    catalog = Catalog.create(folder)
    catalog.add([to_batch(rows)])
    return catalog


@pytest.fixture
def scenes(tmp_path: Path) -> Catalog:
    return catalog_of(tmp_path / "cc.lance", range(4))


def post(url: str, data: bytes) -> dict[str, Any]:
    answer = httpx.post(f"{url}api/lookup", content=data, timeout=60)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def test_a_picture_leads_to_its_creator_however_it_was_saved(
    opened: Open, scenes: Catalog, tmp_path: Path
) -> None:
    other = catalog_of(tmp_path / "other.lance", range(3, 6))
    url = opened(Site(catalogs={"cc": scenes, "other": other}))
    image = scene(2)
    changed = {
        "exact": file_of(image),
        "same picture": file_of(image.resize((120, 90)).crop((2, 2, 118, 89)), "JPEG", quality=80),
        "same picture, mirrored": file_of(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "WEBP"),
    }
    for how, data in changed.items():
        found = post(url, data)
        (match,) = found["catalogs"][0]["matches"]
        assert (match["how"], match["image_id"], match["creator"]) == (how, "s:2", "Ada")
        assert (match["page"], match["models"]) == ("/catalog/cc/s%3A2", [])
        assert (found["found"], found["removed"]) == (1, None)
    both = post(url, file_of(scene(3)))
    assert [each["total"] for each in both["catalogs"]] == [1, 1]
    assert post(url, file_of(scene(99)))["found"] == 0


def test_addresses_ids_and_creators_are_looked_up_but_no_files(
    opened: Open, scenes: Catalog, tmp_path: Path
) -> None:
    url = opened(Site(catalogs={"cc": scenes}))
    scene(1).save(tmp_path / "mine.png")

    def ids(text: str) -> list[str]:
        found = httpx.get(f"{url}api/lookup", params={"q": text}).json()
        return [match["image_id"] for match in found["catalogs"][0]["matches"]]

    assert ids("s:1") == ids("https://example.org/1") == ids("http://example.org/1/") == ["s:1"]
    assert len(ids("ada")) == 4
    for text in (str(tmp_path / "mine.png"), "/etc/passwd", "../cc.lance", "no:such", "'"):
        assert ids(text) == []
    page = httpx.get(f"{url}lookup", params={"q": "s:1"})
    assert "scene 1" in page.text and page.status_code == 200


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_what_is_no_picture_gets_one_plain_sentence(
    opened: Open, scenes: Catalog, capfd: pytest.CaptureFixture[str]
) -> None:
    url = opened(Site(catalogs={"cc": scenes}))
    cases = {
        b"": "is empty",
        b"secret words": "not an image",
        bomb(): "pixels, more than",
        file_of(scene(1))[: len(file_of(scene(1))) // 2]: "damaged or cut short",
    }
    for data, says in cases.items():
        answer = httpx.post(f"{url}api/lookup", content=data)
        assert answer.status_code == 422
        assert says in answer.json()["error"]["message"]
        assert "\n" not in answer.json()["error"]["message"]
        page = httpx.post(f"{url}lookup", content=data, headers={"accept": "text/html"})
        assert (page.status_code, says in page.text) == (422, True)
    for path in ("lookup", "api/lookup"):
        assert httpx.post(url + path, content=bytes(MOST_BYTES + 1)).status_code == 413
    assert httpx.get(f"{url}api/lookup", params={"q": "x" * 2001}).status_code == 422
    assert httpx.get(f"{url}api/lookup/state").json() == {"reading": 0}
    httpx.get(f"{url}lookup", params={"q": "secret words"})
    said = "".join(capfd.readouterr())
    assert "Traceback" not in said and "secret" not in said


def test_what_was_taken_down_is_said_without_saying_whose_it_was(opened: Open, scenes: Catalog) -> None:
    url = opened(Site(catalogs={"cc": scenes}))
    assert post(url, file_of(scene(2)))["found"] == 1
    takedown(scenes, id=["s:2"], reason="asked by the creator")
    for data, known in (
        (file_of(scene(2)), "this"),
        (file_of(scene(2).resize((160, 120)), "JPEG"), "alike"),
        (file_of(scene(77)), None),
    ):
        found = post(url, data)
        assert (found["found"], found["removed"]) == (0, known)
        assert not {"Ada", "scene 2", "asked by"} & set(json.dumps(found).split('"'))
    for text in ("s:2", "https://example.org/2"):
        assert httpx.get(f"{url}api/lookup", params={"q": text}).json()["removed"] == "this"
    assert "kept out" in httpx.get(f"{url}lookup", params={"q": "s:2"}).text


def drawn(model: Path, prompt: str = "a red heart", **info: Any) -> bytes:
    """A file as `generate` writes it."""
    record = json.loads((model / "provenance.json").read_text())
    (digest,) = [value for name, value in record["weights"].items() if name.startswith("unet/")]
    image = scene(50)
    image.info.update(
        {
            "prompt": prompt,
            "negative_prompt": "",
            "seed": 3,
            "steps": 2,
            "guidance_scale": 3.0,
            "scheduler": "DDIMScheduler",
            "width": 240,
            "height": 180,
            "model": record["name"],
            "model_sha256": digest,
            "precision": "bf16",
            "software": "commoncanvas",
        }
        | info
    )
    return encoded(image)


def test_a_drawn_picture_says_which_model_drew_it_and_from_what(
    opened: Open, scenes: Catalog, model: Path
) -> None:
    url = opened(Site(catalogs={"cc": scenes}, models=(model,)))
    file = drawn(model)
    said = post(url, file)["origin"]
    record = json.loads((model / "provenance.json").read_text())
    assert (said["drawn"], said["prompt"], said["model"]) == (True, "a red heart", record["name"])
    assert said["ours"] == {"name": record["name"], "path": f"/models/{record['name']}"}
    assert (said["settings"]["seed"], said["credentials"]) == ("3", None)
    assert said["settings"]["precision"] == "bf16"

    manifest = manifest_of({"model": record["name"], "model_sha256": said["model_sha256"]}, record)
    signed = Signer(own_identity()).sign(file, manifest)
    assert post(url, signed)["origin"]["credentials"]["state"] == "valid"
    changed = signed.replace(b"a red heart", b"a red house")
    assert post(url, changed)["origin"]["credentials"]["state"] == "invalid"
    assert post(url, file_of(scene(50)))["origin"] is None


def test_look_ups_wait_for_each_other_and_too_many_are_refused() -> None:
    desk, go, running = Desk(), threading.Event(), []

    def work(begin: Any) -> dict[str, Any]:
        running.append(len(running))
        go.wait(30)
        return {}

    async def many() -> None:
        asked = [asyncio.create_task(desk.answer(work)) for _ in range(MOST)]
        await asyncio.sleep(0.2)
        with pytest.raises(HTTPException, match="many look-ups wait") as refused:
            await desk.answer(work)
        assert (refused.value.status_code, running) == (429, [0])
        go.set()
        assert await asyncio.gather(*asked) == [{}] * MOST
        assert await desk.answer(work) == {}

    asyncio.run(many())


@given(st.binary(max_size=200).map(lambda tail: b"\x89PNG\r\n\x1a\n" + tail) | st.binary(max_size=20))
@example(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 9) + b"iTXta\0\1\0\0\0xx")
def test_any_bytes_have_texts_or_none(data: bytes) -> None:
    assert isinstance(texts_of(data), dict)


@given(st.dictionaries(st.text("abc", min_size=1), st.text(max_size=50), max_size=5), st.booleans())
def test_texts_come_back_as_they_were_written(texts: dict[str, str], packed: bool) -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    wanted = {
        name: text.replace("\0", "").encode("utf-8", "replace").decode() for name, text in texts.items()
    }
    for name, text in wanted.items():
        info.add_itxt(name, text, zip=packed)
    assert texts_of(file_of(Image.new("L", (1, 1)), pnginfo=info)) == wanted


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_people_look_pictures_up_in_a_browser(
    opened: Open, visit: Any, model: Path, tmp_path: Path, dark: bool
) -> None:
    hostile = " ".join(HOSTILE[:5])
    catalog = catalog_of(
        tmp_path / "cc.lance", range(3), title=hostile, creator=HOSTILE[0], page_url=HOSTILE[3]
    )
    url = opened(Site(catalogs={"cc": catalog}, models=(model,)))

    def give(route: Any) -> None:
        route.fulfill(body=file_of(scene(1)), content_type="image/png")

    page = visit(f"{url}lookup", PHONE if dark else DESK, dark)
    page.route("**/images/**", give)
    # The browser must know early that file choosers are reported, not just before the key that opens one.
    page.on("filechooser", lambda chooser: None)
    audit(page)
    (tmp_path / "mine.png").write_bytes(file_of(scene(1).resize((300, 225))))
    page.locator("#lookup-picture").wait_for()
    while page.evaluate("document.activeElement.id") != "lookup-file":
        page.keyboard.press("Tab")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(tmp_path / "mine.png")
    page.wait_for_selector(".lookup-match")
    assert "1 image found" in page.evaluate("document.activeElement.textContent")
    assert page.locator(".lookup-models tr").count() == 1
    assert page.locator("#lookup-preview").is_visible()
    assert "onerror" in page.locator(".credit").inner_text()
    audit(page)
    picture(page, tmp_path / f"lookup-{dark}.png")

    send = """async ([bytes, kind]) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
      const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
        : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    page.evaluate(send, [list(drawn(model, hostile)), "drop"])
    page.wait_for_selector(".lookup-origin")
    assert "onerror" in page.locator(".lookup-origin").inner_text()
    audit(page)
    page.evaluate(send, [list(file_of(scene(77))), "paste"])
    page.locator("#lookup-answer h2", has_text="Nothing found").wait_for()
    page.fill("#lookup-q", "s:2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/lookup?q=s%3A2")
    assert page.locator(".lookup-match").count() == 1
    audit(page)
