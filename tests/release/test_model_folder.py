import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from commoncanvas.provenance.record_file import read_provenance


def test_provenance_names_every_row_and_what_it_was_made_of(model: Path) -> None:
    record = json.loads((model / "provenance.json").read_text())
    assert record["rows"]["train"] + record["rows"]["heldout"] == 12  # those with human text
    assert record["rows"]["heldout"] > 0
    assert record["parts"].keys() >= {"torch", "diffusers", "commoncanvas"}
    assert record["recipe"]["noise"]["schedule"]["prediction_type"] == "epsilon"
    assert record["result_license"] == "CC-BY-SA-4.0"


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

    from commoncanvas.evaluation import evaluate

    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    evaluate(str(copy), samples=4, steps=1, out=str(tmp_path / "elsewhere"), device="cpu")
    assert "Not measured yet" in markdown(copy)
    evaluate(str(copy), samples=4, steps=1, device="cpu")
    assert "| **Retrieval** |" in markdown(copy) and "of prompts found, chance 25.0" in markdown(copy)
    shown = markdown(copy).split("## How to cite it")[0]
    assert "None" not in shown and "{" not in shown
