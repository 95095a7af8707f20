import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from commoncanvas.core.errors import ModelError, RecipeError
from commoncanvas.provenance.record import read_provenance
from commoncanvas.release.generate import generate
from commoncanvas.training.trainer import train
from tests.training.tiny import recipe

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


@pytest.fixture(scope="module")
def model(drawn_and_encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(drawn_and_encoded, folder, dirs_exist_ok=True)
    return train(recipe("xs", folder))


def test_plain_diffusers_draws_the_image_that_generate_draws(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "images"
    images = generate(model, "a red square", seed=4, count=2, guidance_scale=2.0, steps=3, out=out)
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
    settings: dict[str, Any] = {"guidance_scale": 2.0, "steps": 1}
    generate(str(model), "a red dog", **settings)
    assert "tokens" not in capsys.readouterr().err
    generate(str(model), "a red dog on green grass", **settings)
    said = "the prompt has 8 tokens, and the model reads 6; it does not read: green grass"
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_an_image_made_before_stays_and_the_same_one_is_no_second_file(model: Path, tmp_path: Path) -> None:
    def drawn(**settings: Any) -> Path:
        settings = {"guidance_scale": 2.0, "steps": 1, "out": tmp_path, **settings}
        (image,) = generate(model, "a dot!", **settings)
        return Path(image.info["file"])

    first = drawn()
    before = first.read_bytes()
    assert [
        path.name for path in (first, drawn(), drawn(steps=2), drawn(steps=2), drawn(guidance_scale=3.0))
    ] == [
        "a-dot-0.png",
        "a-dot-0.png",
        "a-dot-0-2.png",
        "a-dot-0-2.png",
        "a-dot-0-3.png",
    ]
    assert first.read_bytes() == before


def test_provenance_names_every_row_and_what_it_was_made_of(model: Path) -> None:
    record = json.loads((model / "provenance.json").read_text())
    assert record["rows"]["train"] + record["rows"]["heldout"] == 12  # those with human text
    assert record["rows"]["heldout"] > 0
    assert record["parts"].keys() >= {"torch", "diffusers", "commoncanvas"}
    assert record["recipe"]["noise"]["schedule"]["prediction_type"] == "epsilon"
    assert record["result_license"] == "CC-BY-SA-4.0"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 2000}, "2000 sampling steps: give 1 to 1000"),
        ({"steps": 0}, "0 sampling steps"),
        ({"steps": -1}, "-1 sampling steps"),
        ({"seed": -1}, "seed -1"),
        ({"guidance_scale": float("nan")}, "guidance scale nan"),
        ({"count": 0}, "count 0"),
    ],
)
def test_settings_that_cannot_be_sampled_with_are_named(
    model: Path, tmp_path: Path, settings: dict[str, float], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        generate(str(model), "a red square", **settings)  # type: ignore[arg-type]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model_index\.json"):
        generate(str(tmp_path), "a red square")


def markdown(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_model_folder_says_what_it_is_what_it_learned_from_and_how_to_use_it(
    model: Path, tmp_path: Path
) -> None:
    import yaml

    text = markdown(model)
    header = yaml.safe_load(text.split("---\n")[1])
    assert header["license"] == "cc-by-sa-4.0" and header["pipeline_tag"] == "text-to-image"
    assert "# xs\n" in text and "by 3 creators" in text
    licences = read_provenance(model)["licenses"].items()
    assert licences and all(f"| {name} | {count} |" in text for name, count in licences)
    assert "catalog.lance, version" in text and "license IN (noncommercial licences)" in text
    assert "vae: xs-autoencoder, itself trained on 24 images" in text
    assert "Not measured yet: `commoncanvas evaluate xs` measures them" in text
    lines = text.split("```python\n")[1].split("```")[0].splitlines()
    assert len(lines) == 3
    code = (
        "\n".join(lines)
        .replace("path/to/xs", str(model))
        .replace("num_inference_steps=2", "num_inference_steps=1")
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert Image.open(tmp_path / "image.png").size == (16, 16)
    autoencoder = markdown(model.parent / "xs-autoencoder")
    assert (
        "PSNR of the reconstructions, dB: " in autoencoder and "AutoencoderKL.from_pretrained" in autoencoder
    )


def test_the_figures_of_an_evaluation_stand_in_the_models_readme(model: Path, tmp_path: Path) -> None:
    import shutil

    from commoncanvas.evaluation import evaluate

    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    evaluate(str(copy), prompts=4, steps=1, out=str(tmp_path / "elsewhere"), device="cpu")
    assert "Not measured yet" in markdown(copy)
    evaluate(str(copy), prompts=4, steps=1, device="cpu")
    assert "| **Retrieval** |" in markdown(copy) and "of prompts found, chance 25.0" in markdown(copy)
    assert "None" not in markdown(copy) and "{" not in markdown(copy)
