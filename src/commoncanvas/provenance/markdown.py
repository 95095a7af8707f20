"""Templates of Markdown documents, with the filters that make strangers' texts safe in them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from commoncanvas.core.numbers import count, percent
from commoncanvas.core.text import counted, markdown_cell, markdown_code
from commoncanvas.licenses import shortened


def templates(package: str) -> Environment:
    """The templates in the folder `templates` of a package."""
    made = Environment(
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "cell": markdown_cell,
        "code": markdown_code,
        "count": count,
        "counted": counted,
        "name": last_part,
        "percent": percent,
        "sentence": lambda text: f"{text[:1].upper()}{text[1:].rstrip('.')}.",
        "shortened": shortened,
    }
    return made


def last_part(place: object) -> str:
    """The last part of a path or address: documents show no folders of the machine where they were written."""
    return str(place).rstrip("/").rpartition("/")[2]
