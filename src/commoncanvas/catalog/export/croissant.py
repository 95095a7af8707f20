"""croissant.json of an export: Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from commoncanvas.catalog.export.data_card import Card
from commoncanvas.catalog.export.shards import WRITERS
from commoncanvas.core.errors import MissingExtraError
from commoncanvas.core.text import counted

VERSION = "http://mlcommons.org/croissant/1.1"
CREDITS = "credits.csv"
_FIELDS = (
    "image_id",
    "page_url",
    "image_url",
    "sha256",
    "license",
    "license_url",
    "creator",
    "creator_url",
    "title",
    "text",
    "credit",
)
"""Columns that Croissant describes: the credit of each image, its text, and where it is from."""
_CSV_FIELDS = (
    "image_id",
    "source_url",
    "license",
    "license_url",
    "creator",
    "creator_url",
    "title",
    "credit",
)
# Terms that 1.1 adds to the context; mlcroissant reads them but writes the context of 1.0.
_CONTEXT = {
    "arrayShape": "cr:arrayShape",
    "containedIn": "cr:containedIn",
    "description": {"@container": "@language"},
    "isArray": "cr:isArray",
    "name": {"@container": "@language"},
}
_KINDS = {"tar": "application/x-tar", "parquet": "application/x-parquet"}


def load_mlcroissant() -> Any:
    """The package mlcroissant. Raises MissingExtraError."""
    try:
        import mlcroissant
    except ImportError as error:
        raise MissingExtraError(
            "the package mlcroissant is missing; pip install 'commoncanvas[export]'"
        ) from error
    return mlcroissant


def croissant(card: Card) -> str:
    """croissant.json for the files of a card, each with its digest. Raises MissingExtraError."""
    mlc = load_mlcroissant()
    ctx = mlc.Context(conforms_to=VERSION, rdf=mlc.Rdf(context={**mlc.Rdf().context, **_CONTEXT}))
    files = [
        mlc.FileObject(
            ctx=ctx,
            id=name,
            name=name,
            content_url=name,
            content_size=f"{size} B",
            encoding_formats=[_kind(name)],
            sha256=sha256,
        )
        for name, (size, sha256) in {**card.more.files, **card.files}.items()
    ]
    shards = mlc.FileSet(
        ctx=ctx,
        id="shards",
        name="shards",
        includes=[f"data/*.{card.ending}"],
        encoding_formats=[_KINDS[card.ending]],
    )
    about: dict[str, Any] = {
        "name": card.name,
        "description": f"{card.images} by {counted(card.people, 'creators')}, each credited.",
        "license": [each.url or each.name for each in card.values],
        "date_published": datetime.now(UTC),
        "version": f"{card.version}.0.0",
        "cite_as": f"Credit each image as {CREDITS} says.",
        "conforms_to": [VERSION],
    }
    metadata = mlc.Metadata(
        ctx=ctx,
        **(about | dict(card.more.croissant)),
        distribution=[*files, shards],
        record_sets=[
            mlc.RecordSet(
                ctx=ctx, id="images", name="images", key=["images/image_id"], fields=_fields(card, ctx)
            )
        ],
    )
    written = metadata.to_json() | dict(card.more.jsonld)
    return json.dumps(written, indent=2, ensure_ascii=False, default=str) + "\n"


def _fields(card: Card, ctx: Any) -> list[Any]:
    """The fields of an image: from the shards if they are tables, else from the credits."""
    mlc = load_mlcroissant()
    table = card.ending == "parquet"
    place = {"file_set": "shards"} if table else {"file_object": CREDITS}
    fields = [
        mlc.Field(
            ctx=ctx,
            id=f"images/{name}",
            name=name,
            data_types=[mlc.DataType.TEXT],
            source=mlc.Source(ctx=ctx, **place, extract=mlc.Extract(ctx=ctx, column=name)),
        )
        for name in (_FIELDS if table else _CSV_FIELDS)
    ]
    if table and WRITERS[card.format].images:
        image = mlc.Source(
            ctx=ctx,
            **place,
            extract=mlc.Extract(ctx=ctx, column="image"),
            transforms=[mlc.Transform(ctx=ctx, json_path="bytes")],
        )
        kinds = [mlc.DataType.IMAGE_OBJECT]
        fields.append(mlc.Field(ctx=ctx, id="images/image", name="image", data_types=kinds, source=image))
    return fields


def _kind(name: str) -> str:
    return _KINDS.get(name.rpartition(".")[2], "text/csv")
