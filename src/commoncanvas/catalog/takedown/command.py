"""Takedown: the rows of a person's request leave the catalog, and what they were stays out.

First the tombstones are written, then the rows are deleted, then, on request, the files are rewritten: killed at any
moment, the same call does the rest.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

_TRAINED = re.compile(r"train-(?P<model>.+)-v\d+")


@dataclass(frozen=True, repr=False)
class TakedownReport(Printed):
    """What a takedown found, and did unless it was a `dry_run`."""

    uri: str
    dry_run: bool
    rows: int
    """Rows of the newest version that go."""
    copies: int
    """Those among them that are there only as the same file, byte for byte."""
    creators: dict[str, int]
    """Whose rows they are."""
    tags: dict[str, int]
    """Tag -> rows of the request in its version."""
    near: dict[str, int]
    """Rows that look alike and stay -> bits in which the perceptual hashes differ."""
    namesakes: dict[str, int]
    """People who may be the creator that was asked for, and stay -> their rows. Somebody has to decide."""
    unknown: tuple[str, ...]
    """What was asked for and is nowhere; it is kept out from now on."""
    purged: PurgeReport | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> RenderableType:
        """What the terminal shows."""
        from rich.text import Text

        return Text("\n".join(self._lines()))

    def _lines(self) -> Iterator[str]:
        copies = f", {self.copies:,} of them copies under other ids" if self.copies else ""
        yield f"{self.uri}: {counted(self.rows, 'rows')} {'would go' if self.dry_run else 'taken down'}{copies}"
        for creator, count in self.creators.items():
            yield f"  {creator}: {counted(count, 'rows')}"
        for tag, count in self.tags.items():
            trained = _TRAINED.fullmatch(tag)
            model = f" (model {trained['model']} was trained on that version)" if trained else ""
            yield f"tag {tag}: {count:,} of the rows{model}"
        if self.near:
            listed = ", ".join(f"{image_id} ({bits} bits)" for image_id, bits in self.near.items())
            yield f"look alike and stay, unless --near: {listed}"
        if self.namesakes:
            yield "called the same or nearly so, and stay; if it is the same person, take them down as well:"
            for creator, count in self.namesakes.items():
                yield f"  {creator}: {counted(count, 'rows')}"
        if self.unknown:
            yield f"not in the catalog, kept out from now on: {', '.join(map(str, self.unknown))}"
        if self.dry_run:
            yield "nothing was changed"
        elif self.purged is None:
            yield (
                "deleted from the newest version only: the files, old versions and tags still hold them; "
                "--purge removes them there too"
            )
        else:
            if self.purged.tags:
                yield f"tags deleted, for their versions can't exist without the rows: {', '.join(self.purged.tags)}"
            yield (
                f"no byte of {counted(self.purged.images, 'images')} is left in {counted(self.purged.files, 'files')} "
                f"({self.purged.bytes:,} bytes searched)"
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
    """Delete the rows that a request is about, and keep tombstones that keep them out of every later import.

    `creator`: a name, an address, or the user id that it ends with. `url`: of pages or images. `list_file`: ids or
    URLs, one a line. `file`: images as they were published; rows that only look alike are listed, and go with `near`.
    The same file under another id always goes. What earlier requests were about goes too, should it have come back, so
    a call without any of these asks for the same once more. `reason` is kept.

    Lance only marks rows as deleted. With `purge` they leave every file, old version and tag, and are looked for
    afterwards (see `purge.purge`, also for `exclusive`). Raises CatalogError.
    """
    request = Request.of(id, creator, url, list_file, file)
    if request and not reason:
        raise CatalogError('a takedown keeps the reason with its tombstones; pass --reason "..."')
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
