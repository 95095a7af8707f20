"""Read recipes from YAML. The command line can set any field: `--a.b value`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from commoncanvas.config.data import MAIN, SHORT, in_full
from commoncanvas.config.recipes import Recipe
from commoncanvas.config.schema import Schema
from commoncanvas.core.errors import RecipeError
from commoncanvas.core.text import one_line

_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Annotated[Recipe, Field(discriminator="task")])


def load_recipe(
    recipe: str | Path | Mapping[str, Any], overrides: Sequence[str] = (), **fields: Any
) -> Recipe:
    """Read the recipe at a path, or one that comes with the package (`xs`), and apply overrides.

    `base` in a recipe is another recipe's name or path (relative to this recipe). Fields that the recipe doesn't set
    come from its base.
    `overrides` are command-line words: `--train.steps 100` or `--train.steps=100`; values are YAML.
    In Python, a recipe can be a mapping, and overrides keyword arguments: `load_recipe("xs", train={"steps": 100})`.
    Raises RecipeError, which names the field that is wrong.
    """
    overrides = [*overrides, *_words(fields)]
    if isinstance(recipe, Mapping):
        name = "given as a mapping"
        read = _with_base(dict(recipe), name, "", Path(), ())
    else:
        name = str(recipe)
        read = _read(name)
    for path, value in _parse_overrides(overrides):
        _set(read, path, value)
    found = validate_recipe(read, where=f"recipe {name}")
    found._words = () if isinstance(recipe, Mapping) else (name, *overrides)
    return found


def as_recipe(recipe: Recipe | str | Path | Mapping[str, Any]) -> Recipe:
    """Load a recipe by its name, path or fields. A Recipe is returned unchanged. Raises RecipeError."""
    return load_recipe(recipe) if isinstance(recipe, str | Path | Mapping) else recipe


def _words(fields: Mapping[str, Any], prefix: str = "--") -> list[str]:
    """Nested fields as command-line words."""
    words: list[str] = []
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            words += _words(value, f"{prefix}{name}.")
        else:
            text = str(value) if isinstance(value, Path) else value
            words += [
                f"{prefix}{name}",
                yaml.safe_dump(text, default_flow_style=True, width=float("inf"))
                .removesuffix("...\n")
                .strip(),
            ]
    return words


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split command-line words into recipes and words of overrides."""
    recipes: list[str] = []
    overrides: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            recipes.append(word)
            continue
        overrides.append(word)
        if "=" not in word and (value := next(rest, None)) is not None:
            overrides.append(value)
    return recipes, overrides


def validate_recipe(fields: dict[str, Any], where: str) -> Recipe:
    """Make the recipe from its fields. RecipeError names `where` and every field that is wrong."""
    try:
        return _ADAPTER.validate_python(fields)
    except ValidationError as error:
        raise RecipeError(
            f"{where}: " + "; ".join(_explain(problem) for problem in error.errors())
        ) from error


def _read(recipe: str, among: Path = Path(), over: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a recipe and its bases. `over`: the recipes that have this one as a base."""
    where, text = _find(recipe, among)
    if where in over:
        raise RecipeError(f"recipe {recipe} is its own base, through {' and '.join(over)}")
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"recipe {recipe} is not valid YAML: {one_line(error)}") from error
    if not isinstance(fields, dict):
        raise RecipeError(f"recipe {recipe} must be a mapping of fields; commoncanvas init writes one")
    return _with_base(fields, recipe, where, Path(where).parent, over)


def _with_base(
    fields: dict[str, Any], recipe: str, where: str, among: Path, over: tuple[str, ...]
) -> dict[str, Any]:
    """Merge the fields of a recipe into those of its base. In the result, all catalogs are in `data.catalogs`."""
    base = fields.pop("base", None)
    one = isinstance(data := fields.get("data"), dict) and data.get("catalog")
    if isinstance(data, dict):
        try:
            fields = fields | {"data": in_full(data)}
        except ValueError as error:
            raise RecipeError(f"recipe {recipe}: data: {error}") from error
    if base is None:
        return fields
    if not isinstance(base, str):
        raise RecipeError(f"recipe {recipe}: base: {base!r} is not the name or path of a recipe")
    below = _read(base, among, (*over, where))
    own, before = (_catalogs(each) for each in (fields, below))
    if one:
        _keep_main(below)
    elif own and MAIN not in own and set(before) == {MAIN}:
        before.clear()
    return _merged(below, fields)


def _catalogs(fields: dict[str, Any]) -> dict[str, Any]:
    data = fields.get("data")
    catalogs = data.get("catalogs") if isinstance(data, dict) else None
    return catalogs if isinstance(catalogs, dict) else {}


def _keep_main(fields: dict[str, Any]) -> None:
    """Remove the other catalogs, because one catalog is given as `data.catalog`."""
    catalogs = _catalogs(fields)
    for name in set(catalogs) - {MAIN}:
        del catalogs[name]


def _merged(base: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(base[name], value)
        if isinstance(value, dict) and isinstance(base.get(name), dict)
        else value
        for name, value in fields.items()
    }
    return base | both


def _find(recipe: str, among: Path) -> tuple[str, str]:
    """The recipe's path (its name, if it comes with the package) and its text."""
    path = among / recipe
    if path.is_file():
        return str(path), path.read_text(encoding="utf-8")
    shipped = resources.files("commoncanvas") / "recipes"
    names = sorted(Path(entry.name).stem for entry in shipped.iterdir() if entry.name.endswith(".yaml"))
    path = Path(recipe)
    if path.stem in names and path.parent.name in ("", "recipes"):
        return path.stem, (shipped / f"{path.stem}.yaml").read_text(encoding="utf-8")
    raise RecipeError(
        f"recipe {recipe} does not exist; give a YAML file, or a recipe of the package: {', '.join(names)}"
    )


def _parse_overrides(words: Sequence[str]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) == 2:
            raise RecipeError(f"unexpected argument {word!r}; set a recipe field as --a.b value")
        path, equals, value = word[2:].partition("=")
        if not equals:
            if not rest:
                raise RecipeError(f"--{path} needs a value")
            value = rest.pop(0)
        try:
            pairs.append((path.replace("-", "_"), yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise RecipeError(f"--{path}: {value!r} is not a YAML value; quote it") from error
    return pairs


def _set(fields: dict[str, Any], path: str, value: Any) -> None:
    section, _, field = path.partition(".")
    if section == "data" and field in SHORT:
        if field == "catalog" and value:
            _keep_main(fields)
        if set(_catalogs(fields)) <= {MAIN}:
            path = f"data.catalogs.{MAIN}.{field}"
    *parents, last = path.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--{path}: {parent} is a single value and has no fields")
    fields[last] = value


def _explain(problem: Any) -> str:
    # The first location is the discriminator's tag, which the user never wrote.
    tags = {"captioner", "autoencoder", "diffusion"}
    path = [str(part) for part in problem["loc"] if part not in tags]
    if problem["type"] == "extra_forbidden":
        return f"there is no field {'.'.join(path)}{_suggest(path)}"
    if problem["type"].startswith("union_tag"):
        return f"task must be one of {', '.join(sorted(tags))}"
    message = problem["msg"].removeprefix("Value error, ")
    field = f"{'.'.join(path)}: " if path else ""
    return f"{field}{message[0].lower()}{message[1:]}"


def _suggest(path: list[str]) -> str:
    known = {name for schema in _below(Schema) for name in schema.model_fields}
    close = difflib.get_close_matches(path[-1], sorted(known), n=1)
    return f"; did you mean {'.'.join([*path[:-1], close[0]])}?" if close else ""


def _below(schema: type[Schema]) -> Iterator[type[Schema]]:
    """All subclasses of a schema."""
    for each in schema.__subclasses__():
        yield each
        yield from _below(each)
