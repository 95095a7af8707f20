"""Check a model folder before it is published, or one that somebody else has published."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
from safetensors import SafetensorError, safe_open

from commoncanvas import licenses
from commoncanvas.catalog.credits import read_credits
from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted, one_line
from commoncanvas.models.card import permits
from commoncanvas.provenance.digests import WEIGHTS, digests
from commoncanvas.provenance.folder import ROWS, open_trained, removed_since
from commoncanvas.provenance.hub import license_fields
from commoncanvas.provenance.model_card import CARD
from commoncanvas.provenance.passed_on import TEXTS, by_others, gaps
from commoncanvas.provenance.record import all_licenses
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.release.findings import NotChecked, ReleaseCheck, pickles, run_checks, some, stated_license
from commoncanvas.release.model_folder import ModelFolder
from commoncanvas.release.sums import wrong_sums
from commoncanvas.selection.rows import rows_sha256
from commoncanvas.table.taken_down_rows import taken_down
from commoncanvas.table.tombstones import Keys

PARTS = "parts"
CREDITS, PIPELINE = "credits.csv", "model_index.json"
BATCH = 65536
KEYS = {"image_id": "image_id", "creator": "creator", "creator_url": "creator_url", "page_url": "source_url"}
"""Columns that tombstones know, and the fields of a credit."""


def check_model(model: str | Path, catalog: str | Sequence[str] = ()) -> ReleaseCheck:
    """Check the model folder that `train` wrote: its files and their digests, formats, licence, rows, credits, and
    whether an image was taken down since. `catalog`: new places of its catalogs, as for `evaluate`.

    Raises ModelError if the folder has no readable provenance.json.
    """
    folder = ModelFolder(Path(model), [catalog] if isinstance(catalog, str) else catalog)
    return run_checks(str(model), folder, CHECKS)


def _files(folder: ModelFolder) -> Iterator[str]:
    """The files that a model folder needs."""
    needed = [RECORD, ROWS, CREDITS, CARD]
    if folder.record["task"] == "diffusion":
        needed.append(PIPELINE)
    yield from (f"{name} is missing" for name in needed if not (folder.path / name).is_file())
    if (folder.path / PIPELINE).is_file():
        index = json.loads((folder.path / PIPELINE).read_text(encoding="utf-8"))
        for part, kind in index.items():
            if isinstance(kind, list) and kind[0] and not (folder.path / part).is_dir():
                yield f"{part}/, a part of {PIPELINE}, is missing"


def _sums(folder: ModelFolder) -> Iterator[str]:
    """The digests in SHA256SUMS."""
    return wrong_sums(folder.path)


def _weights(folder: ModelFolder) -> Iterator[str]:
    """The digests of the weights, against those in provenance.json."""
    stated = folder.record["weights"] | folder.record.get("checkpoints", {})
    found = digests(folder.path)
    yield from (f"{name} is missing" for name in stated if name not in found)
    yield from (f"{name} is not in {RECORD}" for name in found if name not in stated)
    for name in stated:
        if name in found and found[name] != stated[name]:
            yield f"{name} has other weights than {RECORD} states"


def _formats(folder: ModelFolder) -> Iterator[str]:
    """No file may run code when it is loaded, and all weights can be read."""
    yield from pickles(folder.path, f"{WEIGHTS} files")
    for path in sorted(folder.path.rglob(f"*{WEIGHTS}")):
        try:
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            yield f"{path.relative_to(folder.path).as_posix()} can't be read: {one_line(error)}"


def _license(folder: ModelFolder) -> Iterator[str]:
    """The licence follows from those of the images, and the model card states it."""
    record = folder.record
    data = record["recipe"]["data"]
    policy, no_derivatives = licenses.Policy(data["policy"]), data["allow_no_derivatives"]
    own = Counter(folder.trained["license"].to_pylist())
    if own != Counter(record["licenses"]):
        yield f"{RECORD} states other licences than those of the rows in {ROWS}"
    every = sorted(map(licenses.parse, {*own, *all_licenses(record)}), key=lambda each: each.id)
    for each in every:
        if not licenses.allows(each, policy, allow_no_derivatives=no_derivatives):
            yield f"images under {each.id}, which policy {policy.value} does not allow"
    combined = licenses.combine(every, allow_no_derivatives=no_derivatives).result
    if (combined.id if combined else None) != record["result_license"]:
        yield (
            f"{RECORD} states licence {record['result_license']}; that of the images is "
            f"{combined.id if combined else 'none'}"
        )
    if (folder.path / CARD).is_file():
        stated = stated_license(folder.path / CARD)
        if stated != (wanted := license_fields(record)["license"]):
            yield f"{CARD} states licence {stated}, not {wanted}"


def _rows(folder: ModelFolder) -> Iterator[str]:
    """The rows are those that provenance.json states."""
    stated = folder.record["rows"]
    splits = Counter(folder.rows["split"].to_pylist())
    for split in ("train", "heldout", "unused"):
        if splits[split] != stated[split]:
            yield f"{ROWS} has {counted(splits[split], 'rows')} of split {split}, not {stated[split]:,}"
    if rows_sha256(folder.rows, list(folder.record["catalogs"])) != stated["sha256"]:
        yield f"{ROWS} has other images, splits or texts than {RECORD} states"


def _credits(folder: ModelFolder) -> Iterator[str]:
    """Each image that the model was trained on is credited."""
    credited = {each.image_id for each in read_credits(folder.path / CREDITS)}
    missing = [one for one in folder.trained["image_id"].to_pylist() if one not in credited]
    if missing:
        yield f"{counted(len(missing), 'images')} without a credit: {some(missing)}"


def _takedowns(folder: ModelFolder) -> Iterator[str]:
    """No image that the model or one of its parts was trained on was taken down since."""
    if not folder.places:
        raise NotChecked("this needs the publisher's catalog: --catalog URI")
    try:
        keys = taken_down(
            open_trained(str(folder.path), folder.record, name, place)
            for name, place in folder.places.items()
        )
    except CatalogError as error:
        raise NotChecked(one_line(error)) from error
    own = {*folder.trained["image_id"].to_pylist()}
    credited = set(_credited(folder.path / CREDITS, keys))
    if gone := own & (credited | keys.image_ids | _of_trained_version(folder)):
        yield f"{counted(len(gone), 'images')} taken down since the training: {some(sorted(gone))}; train without them"
    if others := credited - own:
        yield (
            f"{counted(len(others), 'images')} taken down since, which its parts learned from: {some(sorted(others))}; "
            "train these parts again, then the model"
        )


def _parts(folder: ModelFolder) -> Iterator[str]:
    """Parts by others in the weights come with their licence, its text and their authors."""
    policy = licenses.Policy(folder.record["recipe"]["data"]["policy"])
    for part in by_others(folder.record):
        if not permits(part["license"], policy):
            yield (
                f"{part['role']} {part['model']} is under {part['license']}, which policy {policy.value} does not allow"
            )
    for part, missing in gaps(folder.record, folder.path):
        words = {
            "license": "licence",
            "authors": "authors",
            "text": f"text of the licence in {TEXTS}/{part['role']}/",
        }
        yield f"{part['role']} {part['model']} is passed on without {' and '.join(words[name] for name in missing)}"


def _credited(path: Path, keys: Keys) -> Iterator[str]:
    """Image ids of the credits that match `keys`."""
    credits = read_credits(path) if path.is_file() else iter(())
    while batch := list(islice(credits, BATCH)):
        columns = {
            name: pa.array([getattr(one, field) for one in batch], pa.string())
            for name, field in KEYS.items()
        }
        yield from columns["image_id"].filter(pa.array(keys.mask(pa.table(columns)))).to_pylist()


def _of_trained_version(folder: ModelFolder) -> set[str]:
    """Image ids of the rows that match a tombstone by any of its keys, in the version that the model was trained on.
    None if a purge has deleted that version.
    """
    try:
        removed = removed_since(folder.catalogs)
    except CatalogError:
        return set()
    if not removed:
        return set()
    rows = zip(*(folder.rows[name].to_pylist() for name in ("catalog", "row_id", "image_id")), strict=True)
    return {image_id for name, row_id, image_id in rows if (name, row_id) in removed}


CHECKS: dict[str, Callable[[ModelFolder], Iterator[str]]] = {
    "files": _files,
    "sums": _sums,
    "weights": _weights,
    "formats": _formats,
    "licence": _license,
    "rows": _rows,
    "credits": _credits,
    "takedowns": _takedowns,
    PARTS: _parts,
}
