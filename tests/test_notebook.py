"""The calls as somebody writes them in a notebook: results to look at, recipes without files, work in other threads."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import commoncanvas
from commoncanvas.catalog import Catalog, show, stats
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.training.trainer import train
from tests.conftest import add_shapes
from tests.training.tiny import recipe


def test_results_are_html_in_a_notebook_and_nothing_in_them_is_obeyed(shapes: Catalog) -> None:
    shapes.dataset.update({"title": "'<script>alert(1)</script>'"}, where="image_id = 'shapes:01'")
    for html in (stats(shapes)._repr_html_(), show(shapes.uri, limit=3)._repr_html_()):
        assert html.count("<") == html.count(">") > 10
        assert "<script" not in html
    html = show(shapes.uri, where="image_id IN ('shapes:00', 'shapes:01', 'shapes:02')")._repr_html_()
    assert html.count('<img src="data:image/webp;base64,') == 3
    assert "painter 0" in html and "CC-BY" in html and "&lt;script&gt;" in html


def test_a_recipe_is_a_name_with_fields_or_a_mapping(tmp_path: Path) -> None:
    words = load_recipe(
        "xs", ["--train.steps", "7", "--out", str(tmp_path / "a"), "--sample.guidance_scale", "3.5"]
    )
    fields: dict[str, Any] = {"train": {"steps": 7}, "out": tmp_path / "a", "sample": {"guidance_scale": 3.5}}
    named = load_recipe("xs", **fields)
    assert named == words
    assert load_recipe({"base": "xs", **fields, "out": str(tmp_path / "a")}) == words
    assert "--train.steps 7" in named.command("train")
    with pytest.raises(RecipeError, match=r"recipe given as a mapping: .*there is no field train.stepz"):
        load_recipe({"base": "xs", "train": {"stepz": 7}})
    with pytest.raises(RecipeError, match=r"there is no field train.stepz"):
        load_recipe("xs", train={"stepz": 7})


def test_training_in_another_thread_ends_and_its_pictures_are_pictures(
    shapes: Catalog, tmp_path: Path
) -> None:
    made: list[Path] = []

    def work() -> None:
        train(recipe("xs-autoencoder", tmp_path))
        encode(recipe("xs", tmp_path))
        made.append(train(recipe("xs", tmp_path)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (image,) = commoncanvas.generate(str(made[0]), "a red square", commoncanvas.DrawOptions(seed=3, steps=1))
    assert isinstance(image, Image.Image)
    assert (image.info["prompt"], image.info["seed"]) == ("a red square", 3)


def test_a_captioner_is_known_by_its_folder(shapes: Catalog, tmp_path: Path) -> None:
    encode(recipe("xs-captioner", tmp_path))
    folder = train(recipe("xs-captioner", tmp_path))
    report = commoncanvas.caption(shapes, folder)
    assert report.captioner == "xs-captioner"
    assert sum(report.statuses.values()) == 12


@pytest.mark.slow
def test_the_lines_of_the_readme_run_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    (lines,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert lines.count("\n") <= 10
    monkeypatch.chdir(tmp_path)
    add_shapes(tmp_path / "my.lance")
    commoncanvas.init_recipe("xs", "ours.yaml", catalog="my.lance")
    train(load_recipe("ours-autoencoder.yaml", train={"steps": 2, "warmup_steps": 1}))
    names: dict[str, Any] = {}
    few = lines.replace('"steps": 500', '"steps": 2, "warmup_steps": 1')
    assert few != lines
    exec(few, names)
    assert isinstance(names["image"], Image.Image)


def test_rows_that_no_condition_lets_in_are_a_table_without_rows(shapes: Catalog) -> None:
    assert show(shapes, where="image_id = 'none'")._repr_html_().count("<tr>") == 1


def test_long_words_of_a_recipe_stay_one_word_of_a_command() -> None:
    where = "title LIKE '%a long condition that YAML would wrap over several lines%' AND license = 'CC0-1.0'"
    made = load_recipe("xs", data={"filter": where})
    assert made.data.catalogs["main"].filter == where and "\n" not in made.command("train")
