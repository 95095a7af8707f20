from pathlib import Path

import pytest

from commoncanvas.config import CatalogConfig, DataConfig, load_recipe
from commoncanvas.core.errors import RecipeError

SHIPPED = ["xs", "xs-transformer", "xs-curriculum", "xs-captioner", "xs-autoencoder"]


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


def test_a_recipe_on_a_base_has_that_ones_fields_where_it_has_none(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "base: xs\nname: mine\ntrain: {steps: 5}\ndata: {policy: commercial}\n"
    )
    (tmp_path / "second.yaml").write_text("base: mine.yaml\ntrain: {batch_size: 2}\n")
    base, made = load_recipe("xs"), load_recipe(str(tmp_path / "second.yaml"), ["--seed", "3"])
    assert (made.name, made.seed, made.data.policy) == ("mine", 3, "commercial")
    assert (made.train.steps, made.train.batch_size) == (5, 2)
    assert made.train.learning_rate == base.train.learning_rate
    assert made.data.catalogs == base.data.catalogs


def test_a_base_that_is_not_there_or_stands_on_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(RecipeError, match=r"recipe a\.yaml is its own base, through .*a\.yaml and .*b\.yaml"):
        load_recipe(str(tmp_path / "a.yaml"))
    (tmp_path / "c.yaml").write_text("base: nowhere\n")
    with pytest.raises(RecipeError, match="recipe nowhere does not exist"):
        load_recipe(str(tmp_path / "c.yaml"))
    (tmp_path / "d.yaml").write_text("base: [xs]\n")
    with pytest.raises(RecipeError, match=r"d\.yaml: base: \['xs'\] is not the name or path"):
        load_recipe(str(tmp_path / "d.yaml"))


TWO = "{cc: {catalog: cc.lance, version: c-v1, share: 3}, museum: {catalog: museum.lance, filter: width > 9}}"


def shares(data: DataConfig) -> dict[str, float]:
    return {name: each.share for name, each in data.catalogs.items()}


def test_several_catalogs_take_the_place_of_a_bases_one_and_back(tmp_path: Path) -> None:
    data = load_recipe("s-c", ["--data.catalogs", TWO, "--data.catalogs.museum.share", "2"]).data
    assert shares(data) == {"cc": 3, "museum": 2}
    assert (data.catalogs["cc"].version, data.catalogs["museum"].filter) == ("c-v1", "width > 9")
    (tmp_path / "ours.yaml").write_text(f"base: s-c\ndata:\n  catalogs: {TWO}\n")
    (tmp_path / "less.yaml").write_text(
        "base: ours.yaml\ndata:\n  catalogs: {museum: null, cc: {share: 1}}\n"
    )
    assert shares(load_recipe(str(tmp_path / "ours.yaml")).data) == {"cc": 3, "museum": 1}
    less = load_recipe(str(tmp_path / "less.yaml")).data
    assert list(less.catalogs) == ["cc"] and less.catalogs["cc"].version == "c-v1"
    one = load_recipe(str(tmp_path / "ours.yaml"), ["--data.catalog", "other.lance"]).data
    assert one.catalogs == {"main": CatalogConfig(catalog="other.lance")}
    (tmp_path / "back.yaml").write_text("base: ours.yaml\ndata: {catalog: other.lance, filter: width > 9}\n")
    back = load_recipe(str(tmp_path / "back.yaml"), ["--data.version", "3"]).data
    assert back.catalogs == {"main": CatalogConfig(catalog="other.lance", filter="width > 9", version=3)}
    beside = load_recipe("s-c", ["--data.catalogs.museum.catalog", "museum.lance"]).data
    assert list(beside.catalogs) == ["main", "museum"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.version", "3"], "version is for a recipe with one catalog; this one has several, so set it for each"),
        (["--data.filter", "width > 9"], "set it for each, as in --data.catalogs.cc.filter"),
        (["--data.shuffle", "{block: 1, buffer: 2}"], "shuffle reads neighbouring rows, and several catalogs are read"),
        (["--data.catalogs.cc.share", "0"], "data.catalogs.cc.share: input should be greater than 0"),
        (["--data.catalogs.cc.shar", "1"], "no field data.catalogs.cc.shar; did you mean data.catalogs.cc.share?"),
        (["--data.catalogs.more.share", "1"], "data.catalogs.more.catalog: field required"),
        (["--data.catalogs", "{c-c: {catalog: a.lance}}"], "name 'c-c': write letters, digits and _"),
        (["--data.catalogs", "{cc: null}"], "data.catalogs: dictionary should have at least 1 item"),
    ],
)  # fmt: skip
def test_what_several_catalogs_can_not_be_had_with_is_named(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe("s-c", ["--data.catalogs", TWO, *words])
    assert message in str(caught.value)
    with pytest.raises(RecipeError, match=r"data\.catalogs\.main\.catalog: input should be a valid string"):
        load_recipe("s-c", ["--data.catalog", "null"])


def test_a_tag_is_a_version() -> None:
    assert load_recipe("s-c", ["--data.tag", "c-v1"]).data.catalogs["main"].version == "c-v1"
    assert load_recipe("s-c", ["--data.version", "c-v1"]) == load_recipe("s-c", ["--data.tag", "c-v1"])
    with pytest.raises(RecipeError, match="version and tag both name the version; give one"):
        load_recipe("s-c", ["--data.tag", "c-v1", "--data.version", "3"])
