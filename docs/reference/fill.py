"""Fills pages of the site from the code: a hook of `mkdocs build`, see mkdocs.yml.

A page says where with a comment such as `<!-- filled: commands -->`. Names, types and defaults come from the code;
meanings too, where the code has them, and from `meanings.yaml` where it doesn't.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import yaml
from pydantic import BaseModel

import commoncanvas.catalog
import commoncanvas.licenses
from commoncanvas.catalog.curating.scores import ColourStage, SharpnessStage
from commoncanvas.catalog.fetching.stage import EXIF
from commoncanvas.catalog.importing.sources import SOURCES
from commoncanvas.cli import app
from commoncanvas.config import AutoencoderRecipe, CaptionerRecipe, DiffusionRecipe, RecipeBase
from commoncanvas.table.fetch_status import STATUSES
from commoncanvas.table.schema import IDENTITY, IMAGE, NSFW, PROVENANCE

ROOT = Path(__file__).parents[2]
MEANINGS: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("meanings.yaml").read_text(encoding="utf-8")
)
FIELDS: dict[str, str] = MEANINGS["fields"]
COLUMNS: dict[str, dict[str, str | list[str]]] = MEANINGS["columns"]
"""Who writes them -> columns -> what they mean; or [type, meaning]."""
MARK = re.compile(r"^<!-- filled: (\w+) -->$", re.M)


# Recipe fields


class RecipeField(NamedTuple):
    """One row of a table: a field as a recipe or the command line has it, `train.steps`."""

    path: str
    type: str
    default: str
    meaning: str


def recipe_sections() -> Iterator[tuple[str, str, list[RecipeField]]]:
    """Title, introduction and fields of each table."""
    shared = set(RecipeBase.model_fields)
    yield "Every recipe", "", list(_fields(RecipeBase, ""))
    seen: set[type[BaseModel]] = set()
    for recipe in (CaptionerRecipe, AutoencoderRecipe, DiffusionRecipe):
        task = recipe.model_json_schema()["properties"]["task"]["const"]
        own = [field for field in _fields(recipe, "") if field.path.split(".")[0] not in shared]
        yield f"`task: {task}`", _prose(recipe), own
    for path, model in _nested("", DiffusionRecipe):
        if model not in seen:
            seen.add(model)
            yield f"`{path}`", _prose(model), list(_fields(model, f"{path}."))


def _nested(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Schemas among a schema's fields, with the path to each; a mapping's values are at `path.NAME`."""
    for name, field in model.model_fields.items():
        for inner, mapped in _schemas(field.annotation):
            path = f"{prefix}{name}.NAME" if mapped else f"{prefix}{name}"
            yield path, inner
            yield from _nested(f"{path}.", inner)


def _schemas(annotation: Any, mapped: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Schemas in a field's annotation, and whether each is a mapping's value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, mapped
    for inner in getattr(annotation, "__args__", ()):
        yield from _schemas(inner, mapped or getattr(annotation, "__origin__", None) is dict)


def _fields(model: type[BaseModel], prefix: str) -> Iterator[RecipeField]:
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    for name, about in schema["properties"].items():
        path = f"{prefix}{name}"
        meaning = about.get("description") or FIELDS.get(path, "")
        if name in required:
            default = "**required**"
        elif "$ref" in about or (isinstance(about.get("default"), dict) and about["default"]):
            default = ""
        else:
            default = f"`{_yaml(about.get('default'))}`"
        yield RecipeField(path, _type(about), default, meaning)


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("\n...")


def _type(about: Mapping[str, Any]) -> str:
    """JSON Schema -> words."""
    if "$ref" in about:
        return "fields of its own, below"
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_type(one) for one in about["anyOf"]))
    if "const" in about:
        return f"`{about['const']}`"
    if "enum" in about:
        return ", ".join(f"`{choice}`" for choice in about["enum"])
    kind = about.get("type")
    if kind == "array":
        if "prefixItems" in about:
            return "[" + ", ".join(_type(one) for one in about["prefixItems"]) + "]"
        return f"list of {_type(about['items'])}"
    if kind == "object":
        values = about.get("additionalProperties")
        if isinstance(values, dict) and "$ref" in values:
            return "names to fields of their own, below"
        return f"mapping to {_type(values)}" if isinstance(values, dict) else "mapping"
    words = {"string": "text", "boolean": "true or false"}
    bounds = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = [f"{sign} {about[name]:g}" for name, sign in bounds.items() if name in about]
    return " ".join([words.get(str(kind), str(kind)), ", ".join(limits)]).strip()


def _prose(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def recipes() -> str:
    """The tables of recipes.md."""
    parts = []
    for title, introduction, fields in recipe_sections():
        rows = [(f"`{one.path}`", one.type, one.default, _sentence(one.meaning)) for one in fields]
        parts += [f"## {title}", introduction, _table(("field", "type", "default", "meaning"), rows)]
    return "\n\n".join(part for part in parts if part)


# Columns of the catalog


def column_types() -> dict[str, str]:
    """Names (with `<...>` for what a run decides) -> types, of each column that is on the page."""
    known: list[pa.Field] = [*IDENTITY, *PROVENANCE, *IMAGE, *EXIF]
    known += [field for source in SOURCES.values() for field in source.columns]
    known += [field for stage in (SharpnessStage(), ColourStage()) for field in stage.writes]
    types = {field.name: _pa_type(field.type) for field in known} | {NSFW: _pa_type(SharpnessStage.type)}
    # Stages that need torch, which the site is built without, make the others; tests/docs compares their types.
    said = {name: about for those in COLUMNS.values() for name, about in those.items()}
    types |= {name: about[0] for name, about in said.items() if isinstance(about, list)}
    if unlike := set(types) ^ set(said):
        raise ValueError(f"docs/reference/meanings.yaml: {sorted(unlike)}: each needs a type and a meaning")
    return types


def _pa_type(kind: pa.DataType) -> str:
    return str(kind).replace("item: ", "").replace("element: ", "")


def columns() -> str:
    """The tables of columns.md: one for each that writes."""
    types = column_types()
    parts = []
    for writer, those in COLUMNS.items():
        meanings = {name: about[1] if isinstance(about, list) else about for name, about in those.items()}
        rows = [(f"`{name}`", f"`{types[name]}`", _sentence(meaning)) for name, meaning in meanings.items()]
        parts += [f"## Written by {writer}", _table(("column", "type", "meaning"), rows)]
    for column, statuses in (("fetch_status", fetch_statuses()), ("caption_status", caption_statuses())):
        rows = [(f"`{status}`", _sentence(meaning)) for status, meaning in statuses.items()]
        parts += [f"## Values of `{column}`", _table(("value", "meaning"), rows)]
    return "\n\n".join(parts)


def fetch_statuses() -> dict[str, str]:
    said: dict[str, str] = MEANINGS["fetch_status"]
    if unlike := set(said) ^ set(STATUSES):
        raise ValueError(
            f"docs/reference/meanings.yaml: fetch_status: {sorted(unlike)}: each needs a meaning"
        )
    return said


def caption_statuses() -> dict[str, str]:
    """Read from the source, for the module needs torch."""
    source = (ROOT / "src/commoncanvas/captioning/captioner.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "STATUSES":
            found: dict[str, str] = ast.literal_eval(node.value)
            return found | {"dropped_<rule>": "`caption drop` took the caption out by this rule"}
    raise ValueError("captioner.py has no STATUSES")


# Commands


def commands() -> str:
    """The commands' own help, a section each."""
    text = app.generate_docs(output_format="markdown", heading_level=1)
    # The site has a table of contents, and the page its title.
    return re.sub(r"\A# commoncanvas\n.*?(?=^\*\*Commands\*\*)", "", text, count=1, flags=re.S | re.M)


# Python


def python() -> str:
    """What the packages export, as mkdocstrings is told of it, under the names that it is imported by."""
    calls = [_shown(f"commoncanvas.{name}", f"{room}.{name}") for name, room in commoncanvas._CALLS.items()]
    parts = ["## Commands", *calls]
    for title, room in (("The catalog", commoncanvas.catalog), ("Licences", commoncanvas.licenses)):
        named = {name: getattr(room, name) for name in room.__all__}
        functions_first = sorted(named.items(), key=lambda item: not inspect.isfunction(item[1]))
        parts += [f"## {title}", " ".join((room.__doc__ or "").split())]
        for name, thing in functions_first:
            # A submodule of the same name would be shown instead.
            where = thing.__module__ if hasattr(thing, "__qualname__") else room.__name__
            parts.append(_shown(f"{room.__name__}.{name}", f"{where}.{name}"))
    return "\n\n".join(parts)


def _shown(name: str, where: str) -> str:
    return f"::: {where}\n    options: {{heading: {name}, toc_label: {name.rpartition('.')[2]}}}"


# Markdown


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    first = text.partition(" ")[0].rstrip(",:;")
    return text[:1].upper() + text[1:] if first.isalpha() else text  # not bf16, mean_std, torch.compile


FILLED: dict[str, Callable[[], str]] = {
    "recipes": recipes,
    "columns": columns,
    "commands": commands,
    "python": python,
}


def filled(markdown: str) -> str:
    """A page's Markdown with its marks replaced."""
    return MARK.sub(lambda mark: FILLED[mark[1]](), markdown)


# What the site takes from outside docs/: the pages of the repository's own folder.

TOP = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PLAIN = {"LICENSE": "LICENSE.txt", "NOTICE": "NOTICE.txt"}
ON_THE_SITE = {"src/commoncanvas/config": "reference/recipes.md"}
"""Links to code -> the pages that are made of it."""
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?\)")


def moved(markdown: str, folder: str) -> str:
    """Links of a page that lies in `folder` of the repository, as the site has them."""

    def link(found: re.Match[str]) -> str:
        address, heading = found[2], found[3] or ""
        if "://" in address or address.startswith("mailto:"):
            return found[0]
        target = (ROOT / folder / address).resolve().relative_to(ROOT).as_posix()
        if folder.startswith("docs") and target.startswith("docs/"):
            return found[0]
        place = (TOP | PLAIN | ON_THE_SITE).get(target, target.removeprefix("docs/"))
        up = "../" * (len(Path(folder).parts) - 1)
        return f"{found[1]}{up}{place}{heading})"

    return LINK.sub(link, markdown)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for name, place in (TOP | PLAIN).items():
        content = (ROOT / name).read_text(encoding="utf-8")
        content = moved(content, "") if name in TOP else content
        files.append(File.generated(config, place, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill a page, and lead its links to the site's pages."""
    if page.file.generated_by is not None:
        return markdown
    return filled(moved(markdown, (Path("docs") / page.file.src_uri).parent.as_posix()))
