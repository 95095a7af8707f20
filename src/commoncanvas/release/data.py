"""Release data: the rows of a tag as a folder that strangers can use, check, cite and object to.

`catalog export` writes the shards and goes on after a crash. This adds the documents, before the folder gets its name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from commoncanvas.catalog import Catalog, ExportReport, export
from commoncanvas.catalog.export.croissant import load_mlcroissant
from commoncanvas.catalog.export.data_card import Card
from commoncanvas.catalog.export.papers import Exported, card_and_croissant
from commoncanvas.catalog.export.shards import WRITERS, columns
from commoncanvas.catalog.export_folder import REMOVED, STATE, cut_off
from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.files import replace_text
from commoncanvas.core.text import counted
from commoncanvas.pages.stats_page import THUMBNAILS, Released, write_stats_page
from commoncanvas.release.about import About
from commoncanvas.release.about_file import load_about
from commoncanvas.release.data_facts import Former, facts_of
from commoncanvas.release.data_folder import DataFolder
from commoncanvas.release.data_papers import CITATION, LICENSE, STATISTICS, citation, license_note, more
from commoncanvas.release.datasheet import DATASHEET, answer, markdown
from commoncanvas.release.removed import Removed, write_removed
from commoncanvas.release.sums import write_sums

if TYPE_CHECKING:
    from rich.console import RenderableType

ABOUT = "about.yaml"
"""The publisher's file, if none was given."""
Format = Literal["huggingface", "parquet", "webdataset"]


@dataclass(frozen=True, repr=False)
class DataRelease(Printed):
    """What the folder contains. `to_fill_in`: lines for a file `about`, with what only the publisher can say."""

    tag: str
    exported: ExportReport
    removed: int
    """Keys in removed.parquet."""
    removed_since: int | None
    """Images of the former release that were taken down; None without a former release."""
    to_fill_in: tuple[str, ...]
    about: str | None
    """The publisher's file, if one was given."""

    def render(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        lines = [f"removed.parquet: {counted(self.removed, 'images')} taken down so far"]
        if self.removed_since is not None:
            lines[0] += f", {self.removed_since:,} of them in the former release"
        if self.to_fill_in:
            file = self.about or ABOUT
            under = "; those under dataset belong under its dataset" if self.about else ""
            lines.append(
                f"{DATASHEET} asks what only you can say. Add these lines to {file}{under}. Write what you know, and "
                f"run it again with --about {file}:"
            )
        return Group(self.exported.render(), *map(Text, [*lines, *self.to_fill_in]))


def release_data(
    catalog: Catalog | str | Path,
    out: str | Path,
    *,
    tag: str,
    images: bool = True,
    format: Format = "huggingface",
    about: str | Path | None = None,
    since: str | Path | None = None,
    shard_size: str = "1GB",
) -> DataRelease:
    """Write the rows of `tag` (a saved filter's, with the columns that were made since) to the folder `out`.

    `images=False` writes addresses, digests, licences and credits instead of the images. `about` is a YAML file with
    what only the publisher can say (`About`). `since` is the folder of the former release: removed.parquet then
    lists what was taken down of it. `format` and `shard_size` are those of `export`; after a crash, the same call goes
    on. Needs mlcroissant. Raises CatalogError, MissingExtraError; ReleaseError for the file `about`.
    """
    if format == "webdataset" and not images:
        raise CatalogError("WebDataset shards have images; choose another format, or leave them in")
    if since is not None and Path(since).resolve() == Path(out).resolve():
        raise CatalogError(
            f"{since} is the folder to write; keep the former release, and choose another folder"
        )
    load_mlcroissant()
    former = DataFolder(Path(since)) if since is not None else None
    if former and (why := cut_off(former.path)):
        raise CatalogError(f"{since} is no complete release: {why}; give one that is")
    papers = _Papers(tag, load_about(about), former)
    exported = export(
        format if images else "links", catalog, out, version=tag, shard_size=shard_size, papers=papers
    )
    return DataRelease(
        tag,
        exported,
        papers.removed.keys,
        papers.removed.since if papers.former else None,
        tuple(papers.to_fill_in),
        str(about) if about is not None else None,
    )


class _Papers:
    """Writes the documents of a release. It may be called again, if something is taken down meanwhile."""

    def __init__(self, tag: str, about: About, former: DataFolder | None) -> None:
        self.tag = tag
        self.about = about
        self.former = former
        self.removed = Removed(0)
        self.to_fill_in: list[str] = []

    def __call__(self, exported: Exported, card: Card) -> None:
        folder = exported.folder
        card = replace(card, name=self.about.dataset.title or card.name)
        images = WRITERS[exported.format].images
        stats = write_stats_page(
            exported.catalog,
            folder / STATISTICS,
            where=exported.condition,
            row_ids=exported.ids,
            release=Released(card.name, columns(exported.catalog.schema, images), card.bytes),
            thumbnails=THUMBNAILS if images else 0,
        )
        self.removed = write_removed(folder / REMOVED, exported.catalog, self.former)
        facts = facts_of(exported, card, stats, self.tag, self.removed, self._compared(exported))
        answers = answer(facts, self.about)
        self.to_fill_in = answers.to_fill_in()
        replace_text(folder / DATASHEET, markdown(card.name, answers))
        replace_text(folder / LICENSE, license_note(card, self.about))
        replace_text(folder / CITATION, citation(card, self.about, facts))
        card_and_croissant(exported, replace(card, more=more(card, self.about, facts, answers, folder)))
        write_sums(folder, {shard.name: shard.sha256 for shard in exported.shards}, without=[STATE])

    def _compared(self, exported: Exported) -> Former | None:
        """How many rows of the former release are in this one."""
        if self.former is None:
            return None
        former = self.former.id_hashes()
        here = DataFolder(exported.folder).id_hashes()
        return Former(len(former), int(np.isin(former, here).sum()))
