"""Takedown: remove the rows of a person's request from the catalog, and keep these images out.

First it writes the tombstones, then it deletes the rows, then, on request, it rewrites the files. After a crash, the
same call does the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from commoncanvas.core.console import Printed
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.redact import redacted
from commoncanvas.core.text import counted
from commoncanvas.table.namesakes import naming
from commoncanvas.table.purge import PurgeReport
from commoncanvas.table.purge import purge as purge_catalog
from commoncanvas.table.removal import CAME_BACK, remove, rows_to_remove
from commoncanvas.table.table import Catalog
from commoncanvas.table.takedown_request import Request
from commoncanvas.table.tombstones import Tombstones

if TYPE_CHECKING:
    from rich.console import RenderableType

NOT_PURGED = (
    "the rows are deleted from the newest version only; the files, old versions and tags still contain them; to remove "
    "them there too, use --purge"
)
_TRAINED = re.compile(r"train-(?P<model>.+)-v\d+")


@dataclass(frozen=True, repr=False)
class TakedownReport(Printed):
    """What a takedown found and removed. With `dry_run` nothing was removed."""

    uri: str
    dry_run: bool
    rows: int
    """Removed rows of the newest version."""
    copies: int
    """Those of the rows that are included only because they have the same file."""
    creators: dict[str, int]
    """Creator -> removed rows."""
    tags: dict[str, int]
    """Tag -> rows of the request in its version."""
    near: dict[str, int]
    """Image ids that look alike and stay -> bits in which the perceptual hashes differ."""
    namesakes: dict[str, int]
    """Creators who may be the requested person, and stay -> their rows. The user has to decide."""
    unknown: tuple[str, ...]
    """Requested ids, URLs and files that are not in the catalog; later imports skip them."""
    purged: PurgeReport | None = None

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.text import Text

        return Text("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        yield from self.found()
        if self.dry_run:
            yield "nothing was changed"
        elif self.purged is None:
            yield NOT_PURGED
        else:
            yield from purge_lines(self.purged)

    def found(self) -> Iterator[str]:
        """Lines about the rows, the tags that contain them, and what stays."""
        copies = f" (copies under other ids: {self.copies:,})" if self.copies else ""
        verb = "would be taken down" if self.dry_run else "taken down"
        yield f"{self.uri}: {counted(self.rows, 'rows')} {verb}{copies}"
        for creator, count in self.creators.items():
            yield f"  {creator}: {counted(count, 'rows')}"
        for tag, count in self.tags.items():
            trained = _TRAINED.fullmatch(tag)
            model = f" (model {trained['model']} was trained on that version)" if trained else ""
            yield f"tag {tag} contains {count:,} of the rows{model}"
        if self.near:
            listed = ", ".join(f"{image_id} ({bits} bits)" for image_id, bits in self.near.items())
            yield f"similar images stay in the catalog, unless --near: {listed}"
        if self.namesakes:
            yield "creators with the same or a similar name stay; if it is the same person, take them down too:"
            for creator, count in self.namesakes.items():
                yield f"  {creator}: {counted(count, 'rows')}"
        if self.unknown:
            yield f"not in the catalog; later imports will skip them: {', '.join(map(str, self.unknown))}"


def purge_lines(purged: PurgeReport) -> Iterator[str]:
    """What a purge deleted and searched."""
    if purged.tags:
        yield f"deleted tags, because their versions contained the rows: {', '.join(purged.tags)}"
    yield (
        f"searched {purged.bytes:,} bytes in {counted(purged.files, 'files')}; "
        f"no byte of {counted(purged.images, 'images')} is left"
    )


def takedown(
    catalog: Catalog | str | Path,
    *,
    id: Sequence[str] = (),
    creator: str | None = None,
    url: Sequence[str] = (),
    list_file: str | Path | None = None,
    file: Sequence[str | Path] = (),
    near: bool = False,
    reason: str | None = None,
    purge: bool = False,
    exclusive: bool = False,
    dry_run: bool = False,
) -> TakedownReport:
    """Delete the rows of a request, and write tombstones that keep them out of later imports.

    `creator`: a name, an address, or the user id at its end. `url`: addresses of pages or images. `list_file`: ids or
    URLs, one per line. `file`: images as they were published; similar rows are listed, and deleted with `near`.
    Rows with the same file under another id are always deleted. So are rows of earlier requests that came back: a
    call without a request only repeats the earlier ones. The tombstones keep the `reason`.

    Lance only marks rows as deleted. With `purge` they are removed from all files, old versions and tags, and a search
    checks this (see `purge.purge`, also for `exclusive`). Raises CatalogError.
    """
    request = Request.of(id, creator, url, list_file, file)
    if request and not reason:
        raise CatalogError('a takedown needs a reason for its tombstones; pass --reason "..."')
    if not isinstance(catalog, Catalog):
        catalog = Catalog.open(catalog)
    catalog.refresh()
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    if not request and not len(stones.table):
        raise CatalogError(
            f"nothing was taken down from {catalog.uri} yet; pass --id, --creator, --url, --list or --file"
        )
    found, kept = rows_to_remove(catalog, request, stones, near)
    report = TakedownReport(
        uri=catalog.uri,
        dry_run=dry_run,
        rows=len(found.rows),
        copies=found.copies,
        creators=dict(Counter(naming(found.rows)).most_common()),
        tags=found.tags,
        near=found.near,
        namesakes=found.namesakes,
        unknown=tuple(map(redacted, found.unknown)),
    )
    if dry_run:
        return report
    remove(catalog, stones, kept, reason or CAME_BACK)
    return replace(report, purged=purge_catalog(catalog, stones, exclusive)) if purge else report
