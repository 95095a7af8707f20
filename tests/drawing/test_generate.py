"""Images from prompts: the plain pipeline's, in files that say how they were drawn, each drawn once."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file

from commoncanvas.core.errors import ModelError, RecipeError
from commoncanvas.diffusion.batches import Painter
from commoncanvas.drawing.generate import drawn, generate
from commoncanvas.drawing.requests import DELIMITERS, read_prompts, requests_of
from commoncanvas.options.generate import DrawOptions

CLEAN = """
import sys, torch
from diffusers import DiffusionPipeline
pipeline = DiffusionPipeline.from_pretrained(sys.argv[1])
image = pipeline(
    "a red square", generator=torch.Generator("cpu").manual_seed(5), guidance_scale=2.0, num_inference_steps=3
).images[0]
image.save(sys.argv[2])
assert not any(name.startswith("commoncanvas") for name in sys.modules)
"""


def test_plain_diffusers_draws_the_image_that_generate_draws(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "images"
    images = generate(
        model, "a red square", DrawOptions(seed=4, count=2, guidance_scale=2.0, steps=3), out=out
    )
    files = [Path(image.info["file"]) for image in images]
    assert sorted(out.iterdir()) == sorted(files)
    subprocess.run([sys.executable, "-c", CLEAN, str(model), str(tmp_path / "plain.png")], check=True)
    ours, plain = (np.asarray(Image.open(path)) for path in (files[1], tmp_path / "plain.png"))
    assert (ours == plain).all()
    assert Image.open(files[1]).text["prompt"] == "a red square"
    assert Image.open(files[1]).text["seed"] == "5"


def test_a_prompt_that_is_too_long_is_said_with_what_is_not_read(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = DrawOptions(guidance_scale=2.0, steps=1)
    generate(str(model), "a red dog", options)
    assert "tokens" not in capsys.readouterr().err
    generate(str(model), "a red dog on green grass", options)
    said = "the prompt has 8 tokens, and the model reads 6; it does not read: green grass"
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_an_image_made_before_stays_and_the_same_one_is_no_second_file(model: Path, tmp_path: Path) -> None:
    def drawn(**settings: Any) -> Path:
        options = DrawOptions(**{"guidance_scale": 2.0, "steps": 1} | settings)
        (image,) = generate(model, "a dot!", options, out=tmp_path)
        return Path(image.info["file"])

    first = drawn()
    before = first.read_bytes()
    again = drawn(), drawn(steps=2), drawn(steps=2), drawn(guidance_scale=3.0)
    assert [path.name for path in (first, *again)] == [
        "a-dot-0.png",
        "a-dot-0.png",
        "a-dot-0-2.png",
        "a-dot-0-2.png",
        "a-dot-0-3.png",
    ]
    assert first.read_bytes() == before


FEW = DrawOptions(guidance_scale=2.0, steps=1)


def test_a_list_that_was_stopped_goes_on_where_it_was(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_of(["a dog", "a cat", "a bird"], None, FEW)
    for _, image in zip(range(2), drawn(model, requests, tmp_path, None), strict=False):
        assert Path(image.info["file"]).is_file()
    there = sorted(tmp_path.iterdir())
    assert len(there) == 2
    # What a killed process leaves, and a file of another tool, are no images of ours.
    (tmp_path / "a-bird-0.png").write_bytes(there[0].read_bytes()[:99])
    made: list[list[str]] = []
    draw = Painter.images

    def counted(painter: Painter, prompts: list[str], **options: Any) -> Any:
        made.append(prompts)
        return draw(painter, prompts, **options)

    monkeypatch.setattr(Painter, "images", counted)
    images = list(drawn(model, requests, tmp_path, None))
    assert made == [["a bird"]]
    assert [Path(image.info["file"]).name for image in images] == [
        "a-dog-0.png",
        "a-cat-0.png",
        "a-bird-0-2.png",
    ]
    whole = generate(model, ["a dog", "a cat", "a bird"], FEW)
    for one, other in zip(images, whole, strict=True):
        assert (np.asarray(one) == np.asarray(other)).all()
        assert {**other.info, "file": one.info["file"]} == one.info


def test_other_weights_under_the_same_name_are_drawn_again(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy" / model.name))
    (before,) = generate(model, "a dog", FEW, out=tmp_path)
    assert generate(copy, "a dog", FEW, out=tmp_path)[0].info["file"] == before.info["file"]
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_out.bias"] += 0.5
    save_file(tensors, weights)
    (after,) = generate(copy, "a dog", FEW, out=tmp_path)
    assert Path(after.info["file"]).name == "a-dog-0-2.png"


def test_each_row_of_a_file_may_have_its_own_settings(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.csv"
    file.write_text(
        "\ufeffPrompt,seed,count,steps,scheduler,negative_prompt\n"
        '"a dog, sitting",7,2,,,\n'
        "\n"
        "a cat,,,2,EulerDiscreteScheduler,blue\n",
        encoding="utf-8",
    )
    images = generate(model, "first", FEW, prompts_file=file, out=tmp_path / "out", grid=tmp_path / "all.png")
    shown = [
        (one.info["prompt"], one.info["seed"], one.info["steps"], one.info["scheduler"]) for one in images
    ]
    own = images[0].info["scheduler"]
    assert shown == [
        ("first", 0, 1, own),
        ("a dog, sitting", 7, 1, own),
        ("a dog, sitting", 8, 1, own),
        ("a cat", 0, 2, "EulerDiscreteScheduler"),
    ]
    alone = DrawOptions(
        guidance_scale=2.0, steps=2, scheduler="EulerDiscreteScheduler", negative_prompt="blue"
    )
    (cat,) = generate(model, "a cat", alone)
    assert (np.asarray(cat) == np.asarray(images[3])).all()
    plain = generate(model, "a cat", replace(alone, negative_prompt=""))[0]
    assert (np.asarray(cat) != np.asarray(plain)).any()
    with Image.open(tmp_path / "all.png") as sheet:
        assert sheet.width > 2 * sheet.height / 3


def test_other_tools_find_the_settings_where_they_look(model: Path, tmp_path: Path) -> None:
    options = DrawOptions(
        guidance_scale=2.5, steps=1, negative_prompt="blue", scheduler="DDIMScheduler", seed=3
    )
    (image,) = generate(model, "a dog, sitting", options, out=tmp_path)
    with Image.open(image.info["file"]) as saved:
        text = saved.text["parameters"]
    first, second, settings = text.split("\n")
    assert (first, second) == ("a dog, sitting", "Negative prompt: blue")
    start = "Steps: 1, Sampler: DDIM, CFG scale: 2.5, Seed: 3, Size: 16x16, Model hash: "
    assert settings.startswith(start + image.info["model_sha256"][:10] + f", Model: {model.name}, Version: ")


def test_an_image_of_another_precision_is_another_image(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("commoncanvas.drawing.generate.multiplies_bf16", lambda device: False)
    plain, rounded = (
        generate(model, "a dog", replace(FEW, steps=3, precision=each), out=tmp_path)[0]
        for each in ("fp32", "bf16")
    )
    assert [image.info["precision"] for image in (plain, rounded)] == ["fp32", "bf16"]
    assert Path(rounded.info["file"]).name == "a-dog-0-2.png"
    assert 0 < np.abs(np.asarray(plain, int) - np.asarray(rounded, int)).mean() < 4
    assert "precision bf16 is slower than fp32" in capsys.readouterr().err


def test_sizes_are_those_that_are_asked_for(model: Path) -> None:
    (image,) = generate(model, "a dog", replace(FEW, height=16, width=32))
    assert image.size == (32, 16)
    with pytest.raises(RecipeError, match=r"17 x 16 pixels: "):
        generate(model, "a dog", replace(FEW, height=16, width=17))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "title\na dog\n", r"a\.csv, line 1: the first line names the columns; prompt is needed"),
        ("a.csv", "prompt,size\na dog,4\n", r"line 1: .* found prompt, size"),
        ("a.csv", "prompt,prompt\na,b\n", r"line 1: .* found prompt, prompt"),
        ("a.csv", "prompt,seed\n\na dog,x\n", r"line 3: seed 'x' is not a whole number"),
        ("a.tsv", "prompt\tguidance_scale\na dog\tbig\n", "line 2: guidance_scale 'big' is not a number"),
        (
            "a.csv",
            "prompt,precision\na dog,int8\n",
            "line 2: precision 'int8' is not one of fp32, bf16, fp16",
        ),
        ("a.csv", "prompt,seed\na dog, sitting,3\n", "line 2: 3 cells, but 2 columns; quote text"),
        ("a.csv", "prompt,seed\n,3\n", "line 2: no prompt"),
        ("a.csv", 'prompt,seed\n"a dog,3\n', r"a\.csv, line 2: unexpected end of data"),
        ("a.txt", "\n  \n", "there is nothing to draw"),
        ("a.txt", "caf\xe9", r"a\.txt can't be read as UTF-8 text"),
    ],
)
def test_a_file_of_prompts_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(RecipeError, match=says):
        requests_of([], tmp_path / name, FEW)
    with pytest.raises(RecipeError, match=r"nowhere\.txt can't be read"):
        requests_of([], tmp_path / "nowhere.txt", FEW)


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).filter(str.strip)
    ),
    st.integers(0, 99),
    st.sampled_from([".csv", ".tsv"]),
)
def test_prompts_of_a_table_are_read_as_they_were_written(prompts: list[str], seed: int, suffix: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a{suffix}")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=DELIMITERS[suffix])
            writer.writerows([["prompt", "seed"], *([prompt, seed] for prompt in prompts)])
        assert read_prompts(path) == [{"prompt": prompt.strip(), "seed": seed} for prompt in prompts]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 2000}, "2000 sampling steps: give 1 to 1000"),
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": -1}, "-1 sampling steps"),
        ({"seed": -1}, "seed -1"),
        ({"guidance_scale": float("nan")}, "guidance scale nan"),
        ({"count": 0}, "count 0"),
        ({"precision": "fp16"}, "precision fp16 needs a GPU"),
        ({"precision": "int8"}, "precision 'int8': give one of fp32, bf16, fp16"),
        ({"scheduler": "DDMIScheduler"}, "no scheduler 'DDMIScheduler'"),
        (
            {"negative_prompt": "blue", "guidance_scale": 1.0},
            "a negative prompt needs a guidance scale above 1",
        ),
    ],
)
def test_settings_that_cannot_be_sampled_with_are_named(
    model: Path, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        generate(str(model), "a red square", DrawOptions(**settings))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model_index\.json"):
        generate(str(tmp_path), "a red square")


def test_what_drawing_does_not_use_is_not_imported() -> None:
    """Only the pipeline's libraries: what else would be imported is seconds before the first image."""
    code = "import sys, commoncanvas.drawing.generate; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    unused = {
        "commoncanvas.catalog",
        "commoncanvas.table",
        "lance",
        "pyarrow",
        "ray",
        "tensorflow",
        "datasets",
    }
    unused |= {"diffusers.pipelines.pixart_alpha", "matplotlib"}
    assert not unused & set(ran.stdout.split())
