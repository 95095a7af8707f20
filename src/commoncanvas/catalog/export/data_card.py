"""README.md of an export: a data card in Hugging Face's format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import yaml

from commoncanvas.catalog.export.shards import WRITERS, features, parquet_schema
from commoncanvas.core.text import counted, markdown_cell
from commoncanvas.core.version import __version__
from commoncanvas.creators.names import NO_CREATOR
from commoncanvas.licenses import License, combine, parse

TOP_CREATORS = 20
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"))
# https://huggingface.co/docs/hub/repositories-licenses
HUB_LICENSES = frozenset(
    """cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
    cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class More:
    """What somebody adds to the documents. `files`: name -> (bytes, sha256) of files beside the shards."""

    header: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the card's YAML."""
    intro: str = ""
    """Markdown of the card's first paragraph: its last sentences."""
    sections: str = ""
    """Markdown of the card, from a heading to the end of a paragraph."""
    croissant: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the data set in Croissant, by the names of `mlcroissant.Metadata`."""
    jsonld: Mapping[str, Any] = field(default_factory=dict)
    """More of them, by their names in JSON-LD."""
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """Content of the documents. `files`: name -> (bytes, sha256). `licenses` and `creators` count images."""

    name: str
    format: str
    schema: pa.Schema
    version: int
    rows: int
    files: dict[str, tuple[int, str]]
    licenses: dict[str, int]
    creators: dict[str, int]
    left_out: dict[str, int]
    more: More = More()

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.files.values())

    @property
    def ending(self) -> str:
        return WRITERS[self.format].ending

    @property
    def values(self) -> list[License]:
        return [parse(name) for name in self.licenses]

    def header(self) -> dict[str, Any]:
        """The card's YAML for the hub (https://huggingface.co/docs/hub/datasets-cards)."""
        header: dict[str, Any] = {
            "pretty_name": self.name,
            "license": hub_licenses(self.values),
            "task_categories": ["text-to-image"],
            "tags": ["image", "creative-commons", "commoncanvas"]
            + (["webdataset"] if self.ending == "tar" else []),
            "size_categories": [
                next((label for limit, label in (*_SIZES, *_LARGER) if self.rows < limit), "1B<n<10B")
            ],
            "configs": [
                {
                    "config_name": "default",
                    "data_files": [{"split": "train", "path": f"data/*.{self.ending}"}],
                }
            ],
        }
        if self.format in ("huggingface", "links"):
            schema = parquet_schema(self.schema, WRITERS[self.format].images)
            split = {"name": "train", "num_bytes": self.bytes, "num_examples": self.rows}
            header["dataset_info"] = {
                "features": [_listed(name, each) for name, each in features(schema).items()],
                "splits": [split],
                "download_size": self.bytes,
                "dataset_size": self.bytes,
            }
        return header | dict(self.more.header)

    @property
    def people(self) -> int:
        """Number of creators with a name."""
        return sum(1 for name in self.creators if name)

    @property
    def images(self) -> str:
        return counted(self.rows, "openly licensed images")

    def markdown(self) -> str:
        """README.md."""
        nc = sum(self.licenses[each.id] for each in self.values if not each.commercial)
        nd = sum(self.licenses[each.id] for each in self.values if not each.derivatives)
        top = list(self.creators.items())[:TOP_CREATORS]
        licence_rows = [
            f"| {_link(each.name, each.url)} | {count:,} | {_yes(each.commercial)} | {_yes(each.derivatives)} | "
            f"{_yes(each.share_alike)} | {_yes(each.attribution)} |"
            for each, count in zip(self.values, self.licenses.values(), strict=True)
        ]
        creator_rows = [f"| {markdown_cell(name or NO_CREATOR)} | {count:,} |" for name, count in top]
        more = len(self.creators) - len(top)
        limits = [
            f"- {counted(nc, 'images')} may not be used commercially."
            if nc
            else "- Every image may be used commercially.",
            *([f"- {counted(nd, 'images')} may be shared only without changes."] if nd else []),
            f"- Together: {combine(self.values, allow_no_derivatives=True).message}.",
        ]
        left = [f"- {count:,}: {reason}" for reason, count in self.left_out.items()] or ["- none"]
        return _CARD.format(
            header=yaml.safe_dump(self.header(), sort_keys=False, allow_unicode=True).rstrip(),
            name=markdown_cell(self.name),
            images=self.images,
            creators=counted(self.people, "creators"),
            program=f"CommonCanvas {__version__}",
            version=self.version,
            intro=self.more.intro and f"\n{self.more.intro}",
            licence_rows="\n".join(licence_rows),
            limits="\n".join(limits),
            creator_rows="\n".join(creator_rows),
            more=f"\n...and {more:,} more; `credits.csv` lists all.\n" if more > 0 else "",
            layout=_LAYOUTS[self.format],
            sections=self.more.sections and f"\n{self.more.sections.strip()}\n",
            left="\n".join(left),
        )


def hub_licenses(values: Iterable[License]) -> str | list[str]:
    """Licences by the hub's names; `other` for those that it has no name for."""
    known = (value.id.lower() for value in values)
    names = sorted({name if name in HUB_LICENSES else "other" for name in known})
    return names[0] if len(names) == 1 else names


def _listed(name: str, feature: dict[str, Any]) -> dict[str, Any]:
    """A feature in the form of the card's YAML."""
    if feature["_type"] == "Image":
        return {"name": name, "dtype": "image"}
    if feature["_type"] == "Sequence":
        return {"name": name, "list": feature["feature"]["dtype"]}
    return {"name": name, "dtype": feature["dtype"]}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _link(text: str, url: str | None) -> str:
    return f"[{text}]({url})" if url else text


_CARD = """---
{header}
---
# {name}

{images} by {creators}. Each image has its licence, its creator and its source.
Exported by {program} from version {version} of a catalog.{intro}

## Licences

| licence | images | commercial use | adaptations | share alike | credit demanded |
|---|---:|---|---|---|---|
{licence_rows}

{limits}

Each row states the licence of its image. Only that licence applies to the image. This is not legal advice.

## Creators

| creator | images |
|---|---:|
{creator_rows}
{more}
## How to credit

`credits.csv` has one line per image: title, creator, source and licence with their addresses, and what was changed.
The column `credit` has all this as one sentence, here and in each row; show it with the image.

## Files

{layout}
{sections}
## Left out

Rows of the catalog that were not exported:

{left}
"""

_TARS = """`data/train-*.tar` are WebDataset shards: KEY.jpg (or png, webp), KEY.json with the image's metadata, and
KEY.txt with its text, if it has one."""

_LINKS = """`data/train-*.parquet` contain no images, but what is needed to fetch them: the address (`image_url`), the
digest of the original file (`sha256`), licence, creator, text and credit of each.

```sh
commoncanvas catalog import table data/*.parquet --id-column image_id --catalog my.lance
commoncanvas catalog fetch --catalog my.lance --size 512 --side shortest
```"""

_PARQUET = """`data/train-*.parquet` contain each image (`image`), its metadata, its text and its credit:

```python
from datasets import load_dataset

images = load_dataset("path/to/this/folder", split="train")
```"""

_LAYOUTS = {"webdataset": _TARS, "links": _LINKS, "parquet": _PARQUET, "huggingface": _PARQUET}
