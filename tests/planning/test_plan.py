import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.cli import main
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import CommonCanvasError, RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.models.data_sheets import DEVICES
from commoncanvas.planning.command import plan
from commoncanvas.planning.result import Plan
from tests.encoding import models
from tests.planning.test_network import SMALL, diffusion
from tests.planning.test_storage import tiny
from tests.training.museum import add_museum, both


def small(**options: Any) -> Plan:
    """Of a small U-Net on SD2's shapes; no catalog."""
    return plan(diffusion("s-c", *SMALL), **({"device": "h100"} | options))


def test_hours_storage_and_dollars_follow_from_flops_and_shapes() -> None:
    planned = small(gpus=16, images=70e6, utilisation=0.4, dollars_an_hour=2.5)
    (phase,) = planned.phases
    rate = 16 * 989.5e12 * 0.4 / phase.flops
    assert phase.images_per_s == pytest.approx(rate)
    assert planned.hours == pytest.approx(550_000 * 2048 / rate / 3600)
    assert planned.device_hours == pytest.approx(16 * planned.hours)
    assert planned.dollars == pytest.approx(2.5 * planned.device_hours)
    assert phase.trained_images == 70e6 * 0.9995  # the recipe holds out the rest
    assert phase.epochs == pytest.approx(550_000 * 2048 / phase.trained_images)
    # fp16 latents of 4 x 4 x 4, six int32 of a crop, fp16 states of 5 tokens, an md5 in hexadecimal.
    assert phase.bytes_per_row == 2 * 64 + 24 + 2 * 5 * 1024 + 32
    assert planned.storage_bytes == pytest.approx(70e6 * phase.bytes_per_row)
    assert phase.state_bytes == 16 * phase.parameters


def test_phases_add_up_and_share_their_text_states() -> None:
    first = diffusion("s-c", *SMALL)
    second = diffusion("s-c-512", *SMALL, "--size", "64")
    planned = plan([first, second], device="a100", gpus=8, images=1e6, dollars_an_hour=2)
    one, two = planned.phases
    assert planned.hours == one.hours + two.hours
    assert planned.dollars == pytest.approx(16 * planned.hours)
    assert one.storage_bytes and two.storage_bytes and planned.storage_bytes
    shared = (2 * 5 * 1024 + 32) * 1e6
    assert planned.storage_bytes == pytest.approx(one.storage_bytes + two.storage_bytes - shared)
    assert two.state_bytes == 20 * two.parameters  # it keeps an average
    assert any("continues from s-c, which has its own column" in note for note in two.notes)


def test_a_second_phase_alone_says_that_the_first_is_not_counted() -> None:
    (phase,) = plan(diffusion("s-c-512", *SMALL), device="a100", images=10).phases
    assert any("runs/s-c, whose training is not counted" in note for note in phase.notes)


def test_rows_and_their_bytes_come_from_the_catalog_that_is_there(shapes: Catalog, tmp_path: Path) -> None:
    words = ["--data.text", "[title]", "--unet.addition_embed_type", "null"]
    recipe = tiny(tmp_path, models.sd2(tmp_path / "model"), *words)
    (before,) = plan(recipe, device="v100").phases
    assert before.images == 24
    assert before.trained_images == 19
    assert before.epochs == pytest.approx(6 * 8 / 19)
    assert {column.measured_rows for column in before.columns} == {0}
    encode(recipe)
    (after,) = plan(recipe, device="v100").phases
    assert {column.measured_rows for column in after.columns} == {24}
    (more,) = plan(recipe, device="v100", images=1000).phases
    assert more.storage_bytes == pytest.approx(1000 * after.bytes_per_row)


def test_rows_of_several_catalogs_are_all_counted_and_one_that_is_not_there_is_named(
    shapes: Catalog, tmp_path: Path
) -> None:
    add_museum(tmp_path / "museum.lance")
    words = ["--data.text", "[title]", "--unet.addition_embed_type", "null"]
    model = models.sd2(tmp_path / "model")
    recipe = tiny(tmp_path, model, *words, *both(tmp_path))
    (before,) = plan(recipe, device="v100").phases
    assert before.images == 24 + 10
    assert any("an image in several catalogs counts once for each" in note for note in before.notes)
    encode(recipe)
    (after,) = plan(recipe, device="v100").phases
    assert {column.measured_rows for column in after.columns} == {34}
    assert after.bytes_per_row == pytest.approx(before.bytes_per_row, rel=0.2)
    assert after.storage_bytes == pytest.approx(34 * after.bytes_per_row)
    alone = tiny(tmp_path, model, *words, "--out", str(tmp_path / "alone"))
    assert plan([alone, recipe], device="v100").storage_bytes == pytest.approx(after.storage_bytes)
    here = str(tmp_path / "catalog.lance")
    halves = both(tmp_path, {"filter": "label IS NULL"}, {"catalog": here, "filter": "label IS NOT NULL"})
    (twice,) = plan(tiny(tmp_path, model, *words, *halves), device="v100").phases
    assert plan(tiny(tmp_path, model, *words, *halves), device="v100").storage_bytes == twice.storage_bytes
    gone = tiny(tmp_path, model, *words, *both(tmp_path, museum={"catalog": "gone.lance"}))
    (phase,) = plan(gone, device="v100").phases
    assert phase.images is None
    assert any("there is no catalog at gone.lance; give --images" in note for note in phase.notes)
    Catalog.create(tmp_path / "empty.lance")
    empty = tiny(tmp_path, model, *words, *both(tmp_path, {"catalog": str(tmp_path / "empty.lance")}))
    with pytest.raises(CommonCanvasError, match=r"empty\.lance has no row that the recipe chooses"):
        plan(empty, device="v100")
    none = tiny(tmp_path, model, *words, *both(tmp_path, museum={"filter": "title = 'mauve'"}))
    with pytest.raises(CommonCanvasError, match=r"museum\.lance has no row that the recipe chooses"):
        plan(none, device="v100")


def test_a_fraction_is_of_what_is_trained_on_and_not_of_what_is_encoded() -> None:
    part = ("--data.fraction", "0.1", "--data.heldout_fraction", "0.2")
    (phase,) = plan(diffusion("s-c", *SMALL, *part), device="a100", images=1e6).phases
    assert (phase.images, phase.trained_images) == (1_000_000, 80_000)
    assert phase.epochs == pytest.approx(550_000 * 2048 / 80_000)
    assert phase.storage_bytes == pytest.approx(1e6 * phase.bytes_per_row)
    assert any("data.fraction 0.1 limits only training" in note for note in phase.notes)
    with pytest.raises(RecipeError, match=r"data\.fraction 0\.1 of 2 images is less than one image"):
        plan(diffusion("s-c", *SMALL, *part), device="a100", images=2)


def test_without_rows_there_are_hours_and_a_line_that_says_what_is_missing() -> None:
    planned = small()
    assert planned.hours > 0
    assert planned.storage_bytes is None
    assert any("--images" in note for note in planned.phases[0].notes)


@pytest.mark.slow
def test_a_state_that_does_not_fit_is_said() -> None:
    (phase,) = plan(diffusion("l-c", "--size", "64"), device="rtx4090", images=1).phases
    assert any("don't fit into one rtx4090's 24 GB" in note for note in phase.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "--device tpu is not known; choose one of: a100"),
        ({"gpus": 0}, "--gpus 0"),
        ({"gpus": 4096}, "a batch of 2048 can't be shared among 4096 devices"),
        ({"gpus": 96}, "a batch of 2048 can't be shared among 96 devices evenly"),
        ({"images": 0.0}, "--images 0"),
        ({"images": math.nan}, "--images nan"),
        ({"images": math.inf}, "--images inf"),
        ({"utilisation": 0.0}, "--utilisation 0"),
        ({"utilisation": 1.5}, "--utilisation 1.5"),
        ({"utilisation": math.nan}, "--utilisation nan"),
        ({"dollars_an_hour": -1.0}, "--dollars-an-hour -1"),
    ],
)
def test_options_that_make_no_sense_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CommonCanvasError, match=message) as caught:
        small(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("xs-captioner", [], "task captioner can't be planned"),
        ("xs-autoencoder", [], "task autoencoder can't be planned"),
        ("s-c", ["--vae", "someone/vae"], "vae someone/vae is not a folder here.* --vae"),
        (
            "s-c",
            ["--text_encoder", "google/t5-v1_1-xxl"],
            "text_encoder google/t5-v1_1-xxl is not a folder here",
        ),
        ("s-c", ["--vae", "."], "is a folder without the config.json"),
        ("s-c", ["--text_encoder", "."], "text_encoder . has no readable configuration"),
        ("s-c", ["--train.precision", "fp32"], "train.precision is fp32; give --utilisation"),
        ("s-c", ["--encode.buckets", "12"], "use a multiple of 8"),
    ],
)
def test_recipes_that_cannot_be_planned_are_named(
    name: str, words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small_words = SMALL if name == "s-c" else []
    with pytest.raises(RecipeError, match=message) as caught:
        plan(load_recipe(name, [*small_words, *words]), device="a100", images=1)
    assert "\n" not in str(caught.value)


def test_fp32_can_be_planned_at_a_utilisation_that_is_given() -> None:
    recipe = diffusion("s-c", *SMALL, "--train.precision", "fp32")
    assert plan(recipe, device="a100", images=1, utilisation=0.02).hours > 0


def test_every_device_says_where_its_figures_are_from() -> None:
    for name, device in DEVICES.items():
        assert name == device.name
        assert 1e14 < device.peak < 3e15
        assert 20e9 < device.memory < 200e9
        assert "NVIDIA" in device.source


def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["commoncanvas", "plan", *words])
    with pytest.raises(SystemExit) as exit:
        main()
    printed = capsys.readouterr()
    return int(exit.value.code or 0), printed.out, printed.err


def test_json_is_the_plan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = command(
        capsys,
        monkeypatch,
        *("s-c", "--images", "70e6", "--data.text", "[caption]", "s-c-512", "--gpus", "128"),
        *("--device", "h100", "--dollars-an-hour", "2", *SMALL, "--json"),
    )
    assert code == 0
    found = json.loads(out)
    assert [phase["recipe"] for phase in found["phases"]] == ["s-c", "s-c-512"]
    assert found["device"]["name"] == "h100"
    assert found["total"]["hours"] == pytest.approx(sum(phase["hours"] for phase in found["phases"]))
    assert found["total"]["dollars"] == pytest.approx(found["total"]["hours"] * 128 * 2)
    assert found["phases"][0]["images"] == 70_000_000


def test_the_table_has_a_column_a_recipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = command(
        capsys, monkeypatch, "s-c", "s-c-512", "--images", "1e6", "--device", "v100", *SMALL
    )
    assert code == 0
    assert out.splitlines()[2].split() == ["s-c", "s-c-512", "total"]
    assert "v100: the peak is for fp16" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["s-c", "--device", "tpu"], "--device tpu"),
        (["s-d", "--device", "a100"], "recipe s-d does not exist"),
        (["s-c", "--device", "a100", "--gpu", "3"], "there is no field gpu"),
        (["s-c", "--device", "a100", "--vae", "someone/vae"], "someone/vae is not a folder here"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, said = command(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    assert message in said
    assert len(said.strip().splitlines()) == 1
