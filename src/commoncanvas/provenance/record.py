"""From a model to the people behind it: what the model and the parts that it is built on learned from."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas import licenses
from commoncanvas.catalog import Catalog
from commoncanvas.catalog.credits import Credit, credits_of, read_credits
from commoncanvas.core.errors import CatalogError, LicenseError, ModelError
from commoncanvas.models.attribution import UNATTRIBUTED, Attribution, attribution
from commoncanvas.models.card import UNKNOWN, card_license, permits
from commoncanvas.models.loading import beside
from commoncanvas.models.packaged import PACKAGED
from commoncanvas.provenance.origin_record import ORIGIN, check_origin
from commoncanvas.provenance.record_file import RECORD, read_provenance
from commoncanvas.selection.heldout import fraction_mask, groups_of, heldout_mask
from commoncanvas.table.columns import ColumnInfo
from commoncanvas.table.taken_down_rows import taken_down

BATCH = 1024


@dataclass(frozen=True)
class Part:
    """A frozen model that another model is built on.

    `role`: vae, text_encoder, captioner, image_features, word_embeddings, alignment or init. `origin`: what it learned
    from; None if that isn't recorded. `credits_file`: the credits of its own training images, if it comes with them.
    `license`: the licence that its model card states, or unknown. `attribution`: who made it, with the licence's text.
    """

    role: str
    model: str
    sha256: str
    origin: dict[str, Any] | None = None
    credits_file: Path | None = None
    license: str = UNKNOWN
    attribution: Attribution = UNATTRIBUTED

    def to_dict(self) -> dict[str, Any]:
        return {
            "role": self.role,
            "model": self.model,
            "sha256": self.sha256,
            "license": self.license,
            "authors": self.attribution.authors,
            "page": self.attribution.page,
            "origin": self.origin,
        }

    @property
    def unknown(self) -> bool:
        """True if its licence and what it learned from are both unknown."""
        return self.license == UNKNOWN and self.origin is None

    def license_ids(self) -> set[str]:
        """Ids of the licences of all images that it and its own parts learned from."""
        return set(all_licenses(self.origin)) if self.origin else set()

    def credits(self, nearby: Sequence[Catalog]) -> Iterator[Credit]:
        """A credit for each image that it learned from; none if that isn't recorded.

        They come from its catalogs at their tags, or from `nearby` if a catalog has moved. If a purge has deleted a
        tag, they come from the model's folder, if that is near. Raises CatalogError.
        """
        if self.credits_file:
            yield from read_credits(self.credits_file)
        elif self.origin:
            yield from _credits(self.origin, nearby)

    def check(self, policy: licenses.Policy, nearby: Sequence[Catalog]) -> None:
        """Find out before a training what would make it fail at the end.

        Raises LicenseError if `policy` does not allow its licence, or a licence of an image that it learned from;
        CatalogError if the creators of its images can't be credited.
        """
        if not permits(self.license, policy):
            raise LicenseError(
                f"{self.role} {self.model} has licence {self.license} in its model card, which policy {policy.value} "
                f"does not allow; choose another {self.role}, or data.policy noncommercial"
            )
        if self.origin and not self.credits_file:
            _sources_or_file(self.origin, nearby)
        refused = [
            license.id
            for license in map(licenses.parse, sorted(self.license_ids()))
            if not licenses.allows(license, policy, allow_no_derivatives=True)
        ]
        if refused:
            raise LicenseError(
                f"{self.role} {self.model} learned from images under {', '.join(refused)}, which policy {policy.value} "
                f"does not allow; choose another {self.role}, or data.policy noncommercial"
            )


def origin(model: str | Path) -> dict[str, Any] | None:
    """What the model in a folder or of a hub id learned from, as records of other models have it; None if that isn't
    recorded. A part of a pipeline has the origin of the pipeline.

    Raises ModelError if the record can't be read.
    """
    path = beside(str(model), RECORD)
    if path is None:
        return None
    record = read_provenance(path.parent, ORIGIN)
    found = {name: record[name] for name in ORIGIN}
    check_origin(found, str(path))
    return found


def filter_of(source: dict[str, Any]) -> str:
    """SQL of the rows that a model learned from or held out, for one catalog of its record."""
    return licenses.spelled_out(source["filter"])


def part(role: str, model: str, sha256: str) -> Part:
    """The part that is the model of a folder or hub id."""
    learned = origin(model)
    credits_file = beside(model, "credits.csv") if learned else None
    return Part(role, model, sha256, learned, credits_file, card_license(model), attribution(model))


def maker(role: str, info: ColumnInfo) -> Part:
    """The part that made a column. Raises ModelError if the column's record can't be read."""
    learned = info.trained_on or {}
    if learned:
        check_origin(learned, f"the columns that {info.model} wrote")
    known = PACKAGED.get(info.model)
    made = Attribution(known.authors, known.page) if known else UNATTRIBUTED
    license = info.license or (known and known.license) or (learned.get("result_license") or UNKNOWN).lower()
    return Part(role, info.model, info.sha256, info.trained_on, license=license, attribution=made)


def unknown_parts(name: str, parts: Iterable[Part]) -> list[str]:
    """A line for each part of the model `name` whose licence and training images are both unknown."""
    return [
        f"{name}: {part.role} {part.model} states neither a licence nor what it learned from; provenance.json says "
        "unknown, so check its licence yourself"
        for part in parts
        if part.unknown
    ]


def combined_licenses(
    own: Iterable[str], parts: Sequence[Part], allow_no_derivatives: bool
) -> licenses.Combination:
    """Combine the licences of a model's rows and of its parts' rows."""
    ids = set(own).union(*(each.license_ids() for each in parts))
    return licenses.combine(map(licenses.parse, ids), allow_no_derivatives=allow_no_derivatives)


def trained_credits(
    sources: Sequence[tuple[Catalog, str]],
    heldout_fraction: float,
    fraction: float = 1.0,
    fraction_seed: int = 0,
    heldout_by: str | None = None,
) -> Iterator[Credit]:
    """A credit for each row that a catalog's filter selects, except held-out rows and rows outside the fraction. An
    image in several catalogs is credited once, as the first of them has it.
    """
    groups = groups_of(sources, heldout_by) if heldout_by is not None else {}

    def held_out(ids: list[str]) -> NDArray[np.bool_]:
        return heldout_mask([groups.get(one, one) for one in ids], heldout_fraction)

    # The rows with the lowest draws are known only after all ids are read.
    used = None
    if fraction < 1:
        tables = [catalog.table(["image_id"], filter) for catalog, filter in sources]
        ids = list(dict.fromkeys(one for table in tables for one in table["image_id"].to_pylist()))
        ids = list(compress(ids, ~held_out(ids)))
        used = set(compress(ids, fraction_mask(ids, fraction, fraction_seed)))
    seen: set[str] = set()
    for left, (catalog, filter) in enumerate(sources, start=1 - len(sources)):
        stream = credits_of(catalog, filter)
        while batch := list(islice(stream, BATCH)):
            held = held_out([one.image_id for one in batch])
            yield from (
                one
                for one, out in zip(batch, held, strict=True)
                if not out and (used is None or one.image_id in used) and one.image_id not in seen
            )
            if left:  # not needed for the last catalog
                seen.update(one.image_id for one in batch)


def merged_credits(
    own: Iterator[Credit], parts: Sequence[Part], nearby: Sequence[Catalog]
) -> Iterator[Credit]:
    """Credits of a model's own rows, then other credits of its parts, without images that were taken down."""
    credited = [each for each in parts if each.origin]
    if not credited:
        yield from own
        return
    seen: set[Credit] = set()
    for one in own:
        seen.add(one)
        yield one
    for each in credited:
        removed = taken_down([*nearby, *_reachable(each.origin)]).image_ids
        for one in each.credits(nearby):
            if one not in seen and one.image_id not in removed:
                seen.add(one)
                yield one


def _reachable(record: dict[str, Any] | None) -> Iterator[Catalog]:
    """The catalogs that a model and its parts learned from, as they are now. Those that can't be opened are skipped."""
    if record is None:
        return
    for source in record["catalogs"].values():
        with suppress(CatalogError):
            yield Catalog.open(source["uri"])
    for each in record["built_on"]:
        yield from _reachable(each["origin"])


def all_licenses(record: dict[str, Any]) -> Iterator[str]:
    """Ids of the licences of all images that a model and its parts learned from."""
    yield from record["licenses"]
    for each in record["built_on"]:
        if each["origin"]:
            yield from all_licenses(each["origin"])


def _credits(record: dict[str, Any], nearby: Sequence[Catalog]) -> Iterator[Credit]:
    about = next(iter(record["catalogs"].values()))
    sources = _sources_or_file(record, nearby)
    if isinstance(sources, Path):
        yield from read_credits(sources)  # has its parts' credits too
        return
    yield from trained_credits(
        sources,
        about["heldout_fraction"],
        about["fraction"],
        about["fraction_seed"],
        about["heldout_by"],
    )
    for each in record["built_on"]:
        if each["origin"]:
            yield from _credits(each["origin"], nearby)


def _sources_or_file(record: dict[str, Any], nearby: Sequence[Catalog]) -> list[tuple[Catalog, str]] | Path:
    """See `_sources`; credits.csv of the model's folder if a source is missing. Raises CatalogError.

    The folder has the model's name. It is in the working folder, next to a catalog, or one level below.
    """
    try:
        return _sources(record, nearby)
    except CatalogError:
        name = str(record["name"])
        places = [Path(), *(Path(catalog.uri).parent for catalog in nearby if "://" not in catalog.uri)]
        for place in dict.fromkeys(place.resolve() for place in places):
            for folder in (place / name, *sorted(place.glob(f"*/{glob.escape(name)}"))):
                with suppress(ModelError):
                    if origin(folder) == record and (folder / "credits.csv").is_file():
                        return folder / "credits.csv"
        raise


def _sources(record: dict[str, Any], nearby: Sequence[Catalog]) -> list[tuple[Catalog, str]]:
    """The catalogs that a model learned from, at their tags, each with the SQL of its rows."""
    return [
        (_open(record["name"], source, nearby), filter_of(source)) for source in record["catalogs"].values()
    ]


def _open(name: str, source: dict[str, Any], nearby: Sequence[Catalog]) -> Catalog:
    """Open a catalog that model `name` learned from: where it was, or one of `nearby` that has as many rows."""
    for uri in dict.fromkeys([source["uri"], *(catalog.uri for catalog in nearby)]):
        try:
            catalog = Catalog.open(uri, version=source["tag"])
            if catalog.count(filter_of(source)) == sum(source["rows"].values()):
                return catalog
        except CatalogError:
            continue
    raise CatalogError(
        f"{name} learned from catalog {source['uri']} at {source['tag']}, which can't be opened or has "
        "other rows now, so the creators of its images can't be credited; put that catalog back, or put the folder "
        f"{name} with its credits.csv into the working folder"
    )
