"""Options that commands share, and how a result is printed. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from commoncanvas.core.console import Printed, print_table
from commoncanvas.core.text import escaped_json, visible

Uri = Annotated[str, Parameter(name="--catalog", help="the catalog: a folder or an object store's URI")]
Where = Annotated[str | None, Parameter(help="SQL condition on the rows, or the name of a saved filter.")]
RecipeName = Annotated[str, Parameter(help="a recipe's name or YAML file.")]
PolicyName = Literal["commercial", "noncommercial"]
EngineName = Annotated[
    Literal["local", "ray"], Parameter(name="--engine", help="this machine, or a running Ray cluster")
]
Workers = Annotated[
    int | None,
    Parameter(
        name=["--workers", "--gpus"], help="most workers on the Ray cluster; default: all its CPUs or GPUs"
    ),
]
# Words such as `--train.steps 100`. The recipe's schema checks them.
Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, help="recipe fields: --train.steps 100")]
FLAT = Parameter(name="*", consume_multiple=True, negative="", show_default=False)
"""A dataclass whose fields are options. A field of several values takes all words up to the next option."""
Json = Annotated[bool, Parameter(name="--json", negative="", help="print the result as JSON")]


@contextmanager
def importing() -> Iterator[None]:
    """Import large libraries without Python's garbage collector, which then leaves their objects alone for good.

    torch, diffusers and transformers make almost a million objects that stay until the end. The collector would look
    at all of them again and again: a fifth of the time until `generate` has its first image.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def names(text: str | None) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def show(result: Any, as_json: bool) -> None:
    """Print a result on stdout: as JSON, as its own table, or as one `name: value` line for each value."""
    if as_json:
        found = result.to_dict() if isinstance(result, Printed) else result
        print(escaped_json(json.dumps(found, indent=2, ensure_ascii=False, default=str)))
    elif isinstance(result, Printed):
        print_table(result.render())
    else:
        for line in _lines(result):
            print(visible(line))


def _lines(value: Any, prefix: str = "") -> list[str]:
    if isinstance(value, dict):
        return [
            line
            for key, inner in value.items()
            for line in _lines(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list) and not prefix:
        return [str(inner) for inner in value]
    return [f"{prefix}: {value:.4g}" if isinstance(value, float) else f"{prefix}: {value}"]
