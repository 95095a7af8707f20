"""The reference pages say something of each field, column and command that there is, and the site has every page."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from cyclopts import App

from commoncanvas import catalog
from commoncanvas.captioning import captioner
from commoncanvas.cli import app
from commoncanvas.config import load_recipe
from commoncanvas.table import fetch_status

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"


def all_commands(command: App, path: str = "commoncanvas") -> Iterator[tuple[str, App]]:
    """Those that do something, by what one types."""
    if path != "commoncanvas" and command.default_command is not None:
        yield path, command
    for name in command:
        if not name.startswith("-"):
            yield from all_commands(command[name], f"{path} {name}")


@pytest.fixture(scope="module")
def fill() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fill", REFERENCE / "fill.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recipe_field_has_a_type_and_a_meaning(fill: ModuleType) -> None:
    fields = [field for _, _, fields in fill.recipe_sections() for field in fields]
    assert [field.path for field in fields if not field.type or not field.meaning] == []
    assert set(fill.FIELDS) <= {field.path for field in fields}, "meanings of fields that there are not"


def test_the_page_of_recipe_fields_has_the_fields_of_the_recipes_that_come_along(fill: ModuleType) -> None:
    paths = {field.path for _, _, fields in fill.recipe_sections() for field in fields}

    def named(value: object, path: str) -> None:
        assert path in paths or path.rpartition(".")[0] in paths, path
        if isinstance(value, dict) and f"{path}.{next(iter(value), '')}" in paths:
            for name, inner in value.items():
                named(inner, f"{path}.{name}")

    for recipe in ("xs-captioner", "xs-autoencoder", "xs", "xs-curriculum", "s-c", "l-c"):
        for name, value in load_recipe(recipe, ["--data.catalog", "x.lance"]).model_dump().items():
            named(value, name)


def test_every_column_of_a_new_catalog_is_on_the_page(fill: ModuleType, tmp_path: Path) -> None:
    types = fill.column_types()
    made = catalog.Catalog.create(tmp_path / "new.lance").schema
    assert {field.name: fill._pa_type(field.type) for field in made}.items() <= types.items()
    page = fill.filled("<!-- filled: columns -->")
    assert all(f"| `{name}` |" in page for name in types)


def test_every_status_is_on_the_page(fill: ModuleType) -> None:
    page = fill.filled("<!-- filled: columns -->")
    for statuses in (fetch_status.STATUSES, captioner.STATUSES):
        assert all(f"| `{status}` |" in page for status in statuses)


def test_every_command_and_option_is_on_the_page(fill: ModuleType) -> None:
    page = fill.filled((REFERENCE / "commands.md").read_text(encoding="utf-8"))
    sections = dict(re.findall(r"^#+ (commoncanvas .*)\n((?:(?!^#).*\n?)*)", page, re.M))
    found = dict(all_commands(app))
    assert len(found) > 15
    for name, command in found.items():
        for argument in command.assemble_argument_collection():
            if not argument.show:  # a field that only Python sets, or the options together
                continue
            assert all(option in sections[name] for option in argument.names), (name, argument.names)


def test_every_call_is_on_the_page(fill: ModuleType) -> None:
    page = fill.filled((REFERENCE / "python.md").read_text(encoding="utf-8"))
    for name in ("commoncanvas.train", "commoncanvas.catalog.export", "commoncanvas.licenses.parse"):
        assert f"heading: {name}," in page


def test_the_site_has_every_page(fill: ModuleType) -> None:
    def pages(nav: object) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        inner = nav.values() if isinstance(nav, dict) else nav
        assert isinstance(inner, list | type({}.values()))
        return [page for one in inner for page in pages(one)]

    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages(site["nav"])) == sorted(there | set(fill.TOP.values()))


def test_links_of_the_repository_lead_to_pages_of_the_site(fill: ModuleType) -> None:
    assert fill.moved("[a](docs/guide/plan.md#x) [b](LICENSE)", "") == "[a](guide/plan.md#x) [b](LICENSE.txt)"
    assert fill.moved("[a](../../README.md) [b](plan.md)", "docs/guide") == "[a](../index.md) [b](plan.md)"
    schema = "[a](../../src/commoncanvas/config)"
    assert fill.moved(schema, "docs/guide") == "[a](../reference/recipes.md)"
