"""Which models of a site saw an image of one of its catalogs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.provenance.markdown import last_part
from commoncanvas.provenance.seen import Seen, seen
from commoncanvas.release.model_folder import MARK
from commoncanvas.site.model_list import Model, models_of
from commoncanvas.site.parts import Site
from commoncanvas.table.table import Catalog

Learned = Literal["yes", "part", "held out", "no", "unknown"]
WORDS: dict[Learned, str] = {
    "yes": "learned from it",
    "part": "a part that it is built on learned from it",
    "held out": "held it out: did not learn from it, and may be measured with it",
    "no": "never saw it",
    "unknown": "not known: its folder does not say what it learned from",
}


@dataclass(frozen=True)
class Sight:
    """What one model saw of one image.

    `path`: of the model's page. `sentence`: for people, without the model's name. `elsewhere`: the model's name of the
    catalog where it saw an image of this id, if that is another catalog than the one that is served.
    """

    model: str
    path: str
    learned: Learned
    sentence: str
    elsewhere: str | None = None


def which_models(site: Site, catalog: str, image_ids: Sequence[str]) -> dict[str, list[Sight]]:
    """For each image of the catalog of this name, what each model of the site saw of it.

    An image is known by its id, which names its source. Reads files: call it in a thread. A model whose files can't be
    read is unknown.
    """
    found: dict[str, list[Sight]] = {one: [] for one in image_ids}
    for model in models_of(site).values():
        same = _same_catalogs(model, site.catalogs[catalog])
        try:
            saw = seen(model.folder, model.record, image_ids) if model.folder else {}
        except ModelError:
            saw = {}
        for one in found:
            found[one].append(_sight(model, saw.get(one), same))
    return found


def _sight(model: Model, saw: Seen | None, same: frozenset[str]) -> Sight:
    learned = _learned(saw)
    split = {"yes": "train", "held out": "heldout"}.get(learned)
    names = (
        [] if saw is None or saw.splits is None else [name for name, found in saw.splits if found == split]
    )
    elsewhere = names[0] if names and not same.intersection(names) else None
    sentence = WORDS[learned]
    if elsewhere is not None:
        sentence += f", under the same id in another catalog, {elsewhere}"
    return Sight(model.name, model.path, learned, sentence, elsewhere)


def _learned(saw: Seen | None) -> Learned:
    if saw is None or (saw.splits is None and saw.credited is None):
        return "unknown"
    splits = {split for _, split in saw.splits or ()}
    if "train" in splits or (saw.splits is None and saw.credited):
        return "yes"
    if saw.credited:
        return "part"
    return "held out" if "heldout" in splits else "no"


def _same_catalogs(model: Model, catalog: Catalog) -> frozenset[str]:
    """The model's names of the catalog: at the same place, or with the tag that the training set. A release states
    only the last part of a place.
    """
    if model.record is None or model.folder is None:
        return frozenset()
    released = (model.folder / MARK).is_file()
    sources = model.record["catalogs"].items()
    return frozenset(name for name, source in sources if _same(source, catalog, released))


def _same(source: Mapping[str, Any], catalog: Catalog, released: bool) -> bool:
    place = str(source["uri"])
    if released and place == last_part(catalog.uri):
        return True
    if "://" not in place + catalog.uri and Path(place).resolve() == Path(catalog.uri).resolve():
        return True
    try:
        return place == catalog.uri or source.get("tag") in catalog.tags()
    except CatalogError:
        return False
