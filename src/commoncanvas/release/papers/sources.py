"""Where the training images are from, by the kinds that the EU's template distinguishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from commoncanvas.core.errors import ReleaseError
from commoncanvas.core.text import counted
from commoncanvas.release.about import About, SourceAnswer, to_fill_in

KNOWN = {
    "flickr": (
        "Photographs on Flickr, listed by YFCC100M or CommonCatalog",
        "https://huggingface.co/common-canvas",
    ),
    "openimages": ("Open Images", "https://storage.googleapis.com/openimages/web/index.html"),
    "openmoji": ("OpenMoji", "https://openmoji.org"),
    "openverse": ("Openverse", "https://openverse.org"),
    "wikimedia": ("Wikimedia Commons", "https://commons.wikimedia.org"),
}
"""Names in the column `source` that belong to one public collection: its title and address."""


@dataclass(frozen=True)
class Origin:
    """One source. `kind`: see `about.Kind`; None if nobody has said it."""

    name: str
    images: int
    kind: str | None
    title: str
    link: str | None
    description: str | None

    def line(self, total: int) -> str:
        """One line: title, count, share of all images, address."""
        share = f"{100 * self.images / total:.1f} %" if total else ""
        words = f"{self.title}: {counted(self.images, 'images')} ({share} of all)"
        return "; ".join(filter(None, (words, self.description, self.link)))


def origins(sources: Mapping[str, int], about: About) -> list[Origin]:
    """Each source with what `about`, or else KNOWN, says of it.

    Raises ReleaseError if `about` names a source that isn't there while the kind of another is not known.
    """
    found = []
    for name, images in sources.items():
        answer = about.sources.get(name) or SourceAnswer()
        known, title, link = ("public", *KNOWN[name]) if name in KNOWN else (None, name, None)
        found.append(
            Origin(
                name,
                images,
                answer.kind or known,
                answer.title or title,
                answer.link or link,
                answer.description,
            )
        )
    if (absent := [name for name in about.sources if name not in sources]) and unsaid(found):
        raise ReleaseError(
            f"the answers name sources.{absent[0]}, but the training images are from: {', '.join(sources)}; "
            "write the name as in the catalog's column source"
        )
    return found


def unsaid(found: list[Origin]) -> list[str]:
    """A line for each source whose kind nobody has said."""
    return [
        f"{each.name} ({counted(each.images, 'images')}): {to_fill_in(f'sources.{each.name}.kind')}"
        for each in found
        if each.kind is None
    ]
