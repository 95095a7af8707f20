"""Whether a catalog knows that a picture or an address was taken down. It doesn't say whose they were."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from commoncanvas.catalog.lookup.picture import Picture
from commoncanvas.images.copies import find_copy, make_query
from commoncanvas.table.reuploads import TakenDown
from commoncanvas.table.table import Catalog
from commoncanvas.table.tombstones import Tombstones

Removed = Literal["this", "alike"]
"""this: the same file, address or id was taken down; alike: a picture that looks the same was."""


def removed(catalog: Catalog, what: Picture | str) -> Removed | None:
    """None if nothing like it was taken down. `what`: a picture, an address or an image_id, but not a creator: whether
    a person asked for removal is nobody's business. Raises CatalogError if the picture can't be decoded.
    """
    stones = Tombstones(catalog.uri, catalog.storage_options)
    stones.refresh()
    if isinstance(what, str):
        asked = pa.table({name: [what] for name in ("image_id", "page_url", "image_url")})
        return "this" if stones.keys.mask(asked).any() else None
    known = TakenDown.of(stones)
    if what.sha256 in known.digests:
        return "this"
    if len(known.hashes) and find_copy(make_query(what.pixels), known.hashes):
        return "alike"
    return None
