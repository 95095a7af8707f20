from pathlib import Path

import pytest

from commoncanvas.config import load_recipe
from commoncanvas.errors import RecipeError

SHIPPED = ["xs", "xs-captioner", "xs-autoencoder"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid(name: str) -> None:
    assert load_recipe(f"recipes/{name}.yaml").name == name


def test_shipped_recipes_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_recipe("recipes/xs.yaml") == load_recipe("xs")


def test_every_field_can_be_set_on_the_command_line() -> None:
    words = [
        "--train.steps",
        "7",
        "--train.learning-rate=0.5",
        "--data.text",
        "[title]",
        "--unet.norm_num_groups",
        "8",
    ]
    recipe = load_recipe("xs", words)
    assert recipe.train.steps == 7
    assert recipe.train.learning_rate == 0.5
    assert recipe.data.text == ["title"]
    assert recipe.task == "diffusion"
    assert recipe.unet["norm_num_groups"] == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.stepz", "7"], "there is no field train.stepz; did you mean train.steps"),
        (["--train.steps", "many"], "train.steps: input should be a valid integer"),
        (["--train.steps", "0"], "train.steps: input should be greater than 0"),
        (["--train.steps"], "--train.steps needs a value"),
        (["--name.first", "a"], "name is a single value"),
        (["--task", "cook"], "task must be one of autoencoder, captioner, diffusion"),
        (["steps=3"], "unexpected argument 'steps=3'"),
        (["--train.steps", "{"], "is not a YAML value"),
    ],
)
def test_wrong_overrides_are_named_in_one_line(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("xs", words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_does_not_exist_names_those_that_do() -> None:
    with pytest.raises(RecipeError, match="xs-captioner"):
        load_recipe("recipes/xl.yaml")


@pytest.mark.parametrize("text", ["- a\n", "a: [", "task: diffusion\n"])
def test_a_file_that_is_no_recipe_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"mine\.yaml"):
        load_recipe(str(path))
