"""BLIP-2, LLaVA and Qwen2-VL: transformers' own classes with small random weights, loaded as the real ones are."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from commoncanvas.captioning import Caption, CaptionerConfig, caption, load_captioner
from commoncanvas.captioning.generation import GeneratingCaptioner
from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.engine import LocalEngine
from commoncanvas.images.image import decode, encode_image
from commoncanvas.table.columns import ColumnInfo
from tests.captioning import models

KINDS = {"blip2": "blip2", "llava": "vlm", "qwen": "vlm"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("models")
    return {name: getattr(models, name)(root / name) for name in KINDS}


def config(name: str, folders: dict[str, str], **options: Any) -> CaptionerConfig:
    given = {"max_tokens": 8, "precision": "fp32", "batch_size": 4, "device": "cpu"} | options
    return CaptionerConfig(folders[name], KINDS[name], **given)


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    draw = np.random.default_rng(0)
    sizes = [
        (40, 60),
        (60, 40),
        (90, 90),
        (33, 110),
        (40, 60),
        (41, 61),
        (90, 90),
        (90, 90),
        (90, 90),
        (90, 90),
    ]
    return [encode_image(draw.integers(0, 256, (*size, 3), np.uint8), "png") for size in sizes]


def written(captioner: GeneratingCaptioner, images: list[bytes], ids: list[str]) -> list[Caption]:
    return captioner.caption([captioner.prepare(image) for image in images], ids)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"precision": "bf16"}, {"temperature": 1.0, "top_p": 0.9, "beams": 1}]
)
def test_an_image_gets_the_same_caption_alone_and_in_any_batch(
    name: str, options: dict[str, Any], folders: dict[str, str], images: list[bytes]
) -> None:
    captioner = load_captioner(config(name, folders, **options))
    ids = [f"image:{number}" for number in range(len(images))]
    together = written(captioner, images, ids)
    assert [written(captioner, [image], [one])[0] for image, one in zip(images, ids, strict=True)] == together
    order = random.Random(0).sample(range(len(images)), len(images))
    assert written(captioner, [images[place] for place in order], [ids[place] for place in order]) == [
        together[place] for place in order
    ]
    assert len({one.text for one in together}) > 3  # it does look at the images


@pytest.mark.parametrize("name", KINDS)
def test_captions_are_what_transformers_writes_for_one_image(
    name: str, folders: dict[str, str], images: list[bytes]
) -> None:
    import transformers

    prompt = "What is it?"
    captioner = load_captioner(config(name, folders, prompt=prompt, beams=3))
    processor = transformers.AutoProcessor.from_pretrained(folders[name])
    network = transformers.AutoModelForImageTextToText.from_pretrained(folders[name], dtype=torch.float32)
    for image in images[:4]:
        picture = Image.fromarray(decode(image))
        if name == "blip2":
            inputs = processor(images=picture, text=prompt, return_tensors="pt")
        else:
            content = [{"type": "image"}, {"type": "text", "text": prompt}]
            text = processor.apply_chat_template(
                [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
            )
            inputs = processor(images=picture, text=text, return_tensors="pt")
        tokens = network.generate(**inputs, max_new_tokens=8, num_beams=3, do_sample=False)
        answer = processor.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert (written(captioner, [image], ["x"])[0].text or "") == " ".join(answer.split())


@pytest.mark.parametrize("t5", [False, True])
def test_what_is_not_ended_within_its_tokens_is_cut(t5: bool, images: list[bytes], tmp_path: Path) -> None:
    given = CaptionerConfig(models.blip2(tmp_path, t5), "blip2", max_tokens=3, precision="fp32", device="cpu")
    captioner = load_captioner(given)
    assert isinstance(captioner, GeneratingCaptioner)
    assert {one.status for one in written(captioner, images[:3], ["x"] * 3)} == {"cut"}


def test_the_seed_and_the_image_decide_what_chance_writes(
    folders: dict[str, str], images: list[bytes]
) -> None:
    first, again, other = (
        load_captioner(config("llava", folders, temperature=1.0, seed=seed)) for seed in (1, 1, 2)
    )
    one = images[:1] * 3
    said = written(first, one, ["a", "b", "c"])
    assert len(set(said)) == 3
    assert written(again, one, ["a", "b", "c"]) == said
    assert written(other, one, ["a", "b", "c"]) != said


def test_chance_has_the_models_own_odds() -> None:
    """Gumbel noise and the largest score, against the softmax that it stands for."""
    from commoncanvas.captioning.generation import _Gumbel

    odds = torch.tensor([0.5, 0.3, 0.15, 0.05])
    count = 4000
    chosen = _Gumbel(0, [str(number) for number in range(count)])(
        torch.empty(count, 0), odds.log().expand(count, 4)
    ).argmax(1)
    drawn = torch.bincount(chosen, minlength=4) / count
    assert (drawn - odds).abs().max() < 0.03  # 3.8 standard deviations of the largest


def test_too_little_memory_halves_the_batch_and_goes_on(
    folders: dict[str, str], images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = load_captioner(config("blip2", folders, batch_size=8, beams=1))
    assert isinstance(captioner, GeneratingCaptioner)
    expected = written(captioner, images, ["x"] * len(images))
    generate, sizes = captioner.network.generate, []

    def small(**inputs: Any) -> Any:
        sizes.append(len(inputs["pixel_values"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError
        return generate(**inputs)

    monkeypatch.setattr(captioner.network, "generate", small)
    assert written(captioner, images, ["x"] * len(images)) == expected
    assert sizes == [8, 4, 2, 2, 2, 2, 2]


def test_models_that_are_not_what_was_asked_for_are_refused_in_one_line(
    folders: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"captioner .* can't be loaded as vlm: "):
        load_captioner(CaptionerConfig(str(tmp_path), "vlm"))
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in Path(folders["llava"]).iterdir():
        if file.name != "chat_template.jinja":
            (bare / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ModelError, match="has no chat template"):
        load_captioner(CaptionerConfig(str(bare), "vlm"))
    with pytest.raises(ModelError, match=r"beams 2 and temperature 0\.5"):
        load_captioner(config("llava", folders, beams=2, temperature=0.5))
    with pytest.raises(ModelError, match="there is no captioner 'blip'"):
        load_captioner(CaptionerConfig("x", "blip"))


def test_a_column_says_how_it_was_written_and_refuses_other_settings(
    shapes: Catalog, folders: dict[str, str]
) -> None:
    how = config("llava", folders, prompt="What is this?")
    report = caption(shapes.uri, how, column="short", where=None)
    assert report.captions == shapes.count("fetch_status = 'ok'")
    assert sum(report.statuses.values()) == report.captions
    made = ColumnInfo.of(Catalog.open(shapes.uri).schema.field("short"))
    assert made is not None and made.model == folders["llava"]
    assert made.settings == {"prompt": "What is this?", "max_tokens": 8, "beams": 1, "precision": "fp32"}
    assert caption(shapes.uri, replace(how, batch_size=2), column="short", where=None).captions == 0
    with pytest.raises(
        CatalogError,
        match=r"prompt 'What is this\?'.*not by.*prompt 'Why\?'.*such as short_llava, or --overwrite",
    ):
        caption(shapes.uri, replace(how, prompt="Why?"), column="short", where=None)
    with pytest.raises(CatalogError, match="use lower-case letters, digits and _, as in"):
        caption(shapes.uri, how, column="Short caption")
    with pytest.raises(CatalogError, match="there is no caption status late"):
        caption(shapes.uri, how, column="short", retry=["late"])


def test_auto_goes_on_in_the_precision_of_the_captions_that_are_there(
    shapes: Catalog, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = config("llava", folders, precision="auto")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    caption(shapes.uri, how, column="short", where="title LIKE '%red%'")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)  # the same table, on another machine
    assert caption(shapes.uri, how, column="short", where=None).captions
    caption(shapes.uri, how, column="other", where=None)
    schema = Catalog.open(shapes.uri).schema
    found = [ColumnInfo.of(schema.field(name)) for name in ("short", "other")]
    assert [info.settings["precision"] for info in found if info] == ["bf16", "fp32"]


def test_rays_gpus_take_bf16_whatever_the_process_that_asks_them_runs_on(
    shapes: Catalog, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class OnGpus(LocalEngine):
        gpus = 1

    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    caption(shapes.uri, config("llava", folders, precision="auto"), where=None, engine=OnGpus())
    info = ColumnInfo.of(Catalog.open(shapes.uri).schema.field("caption"))
    assert info and info.settings["precision"] == "bf16"


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_blip2_searches_with_five_beams_unless_chance_is_asked_for(
    temperature: float, folders: dict[str, str]
) -> None:
    captioner = load_captioner(config("blip2", folders, temperature=temperature))
    assert captioner.info.settings["beams"] == (1 if temperature else 5)


def test_a_stored_image_that_is_broken_costs_its_own_row(shapes: Catalog, folders: dict[str, str]) -> None:
    shapes.dataset.update({"image": "arrow_cast('no image', 'LargeBinary')"}, where="title LIKE '%red%'")
    broken = Catalog.open(shapes.uri).count("title LIKE '%red%'")
    report = caption(shapes.uri, config("llava", folders), where=None)
    assert broken and report.statuses["not_an_image"] == broken
    assert caption(shapes.uri, config("llava", folders), where=None).captions == 0
    again = caption(shapes.uri, config("llava", folders), where=None, retry=["failed"])
    assert again.captions >= broken


@pytest.mark.parametrize("name", ["qwen", "blip2"])
def test_a_picture_that_the_model_cannot_take_costs_its_own_row(
    name: str, shapes: Catalog, folders: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    strip = encode_image(np.full((4, 900, 3), 200, np.uint8), "png")
    image_id = shapes.table(["image_id"], limit=1)["image_id"][0].as_py()
    shapes.dataset.update(
        {"image": f"arrow_cast(X'{strip.hex()}', 'LargeBinary')"}, f"image_id = '{image_id}'"
    )
    report = caption(shapes.uri, config(name, folders), where=None)
    rows = Catalog.open(shapes.uri).table(["image_id", "caption_status", "caption"]).to_pylist()
    odd = {row["caption_status"] for row in rows if row["image_id"] == image_id}
    assert odd == ({"model_error"} if name == "qwen" else {rows[0]["caption_status"]})
    assert {row["caption_status"] for row in rows if row["image_id"] != image_id} <= {"ok", "cut", "empty"}
    assert sum(report.statuses.values()) == shapes.count()
    assert ("absolute aspect ratio must be smaller" in capsys.readouterr().err) == (name == "qwen")
    assert caption(shapes.uri, config(name, folders), where=None).captions == 0


def test_an_answer_that_fails_is_its_images_own_and_the_batch_is_done_without_it(
    shapes: Catalog, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write, bad = GeneratingCaptioner.caption, sorted(shapes.table(["image_id"])["image_id"].to_pylist())[5]

    def failing(self: GeneratingCaptioner, prepared: Any, ids: list[str]) -> list[Caption]:
        if bad in ids:
            raise RuntimeError("shape mismatch")
        return write(self, prepared, ids)

    with monkeypatch.context() as patched:
        patched.setattr(GeneratingCaptioner, "caption", failing)
        report = caption(shapes.uri, config("llava", folders), where=None)
    assert report.statuses["model_error"] == 1 and sum(report.statuses.values()) == shapes.count()
    again = caption(shapes.uri, config("llava", folders), where=None, retry=["model_error"])
    assert again.captions == 1 and "model_error" not in again.statuses


def test_a_model_that_fails_on_every_image_ends_the_run(
    shapes: Catalog, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: GeneratingCaptioner, prepared: Any, ids: list[str]) -> list[Caption]:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(GeneratingCaptioner, "caption", failing)
    with pytest.raises(ModelError, match="failed on all of 24 images: RuntimeError: no kernel"):
        caption(shapes.uri, config("llava", folders), where=None)
    assert "caption_status" not in Catalog.open(shapes.uri).schema.names or not Catalog.open(
        shapes.uri
    ).count("caption_status IS NOT NULL")


def test_a_model_that_fails_in_the_middle_loses_nothing_of_what_it_wrote(
    shapes: Catalog, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = config("llava", folders, batch_size=1)  # batches of eight rows
    write, calls = GeneratingCaptioner.caption, []

    def failing(self: GeneratingCaptioner, *arguments: Any) -> list[Caption]:
        calls.append(1)
        if len(calls) == 2:
            raise ModelError("the server is gone")
        return write(self, *arguments)

    with monkeypatch.context() as patched, pytest.raises(ModelError, match="the server is gone"):
        patched.setattr(GeneratingCaptioner, "caption", failing)
        caption(shapes.uri, how, where=None)
    assert Catalog.open(shapes.uri).count("caption_status IS NOT NULL") == 8
    assert caption(shapes.uri, how, where=None).captions == shapes.count() - 8


def test_revision_and_settings_stand_in_the_metadata_as_json(
    shapes: Catalog, folders: dict[str, str]
) -> None:
    captioner = load_captioner(config("qwen", folders, temperature=0.5, seed=3))
    field = captioner.info.field("caption")
    assert json.loads(field.metadata[b"commoncanvas"])["settings"]["seed"] == 3
    assert ColumnInfo.of(field) == captioner.info
