"""Calibrate on a model's own images: known copies of its training images, and known strangers. Kept in its folder."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from commoncanvas.core.console import say
from commoncanvas.core.errors import ModelError
from commoncanvas.core.files import replace_bytes, why
from commoncanvas.core.platforms import cache_folder
from commoncanvas.memorisation.calibration import (
    ALARMS,
    Calibration,
    Share,
    false_alarms_of,
    threshold_of,
)
from commoncanvas.memorisation.copies import CHANGES
from commoncanvas.memorisation.learned import Learned
from commoncanvas.memorisation.projection import Whitening
from commoncanvas.memorisation.view import View
from commoncanvas.models.pretrained import is_packaged
from commoncanvas.provenance.model_card import MEMORISATION

STRANGERS, COPIES = 2000, 100
LEAST_STRANGERS = 20
TWINS = 64
"""Nearest training images that are looked at: a copy can be as near to several that differ in a detail."""
FILE = "calibration.npz"


def calibrated(
    folder: Path, learned: Learned, view: View, *, strangers: int, copies: int, seed: int
) -> tuple[Whitening, Calibration]:
    """The calibration in `folder` if it was made with these settings, or a new one, which is written there. Also
    computes the features of all training images that lack them. Raises CatalogError; ModelError if there are too few
    strangers.
    """
    settings = [strangers, copies, seed]
    learned.compute(view)
    if (kept := _read(folder, learned, view)) and kept[0] == settings:
        return kept[1:]
    found = calibrate(learned, view, strangers=strangers, copies=copies, seed=seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_bytes(folder / FILE, _written(_identity(learned, view), settings, *found))
    except OSError as error:
        say(f"the calibration can't be kept in {folder}, and is made again next time: {why(error)}")
    return found


def calibration_folder(model: str) -> Path:
    """Where the calibration of a model is kept: in its folder, or for a packaged model in the user's cache."""
    return (
        cache_folder() / MEMORISATION.parent / Path(model).name
        if is_packaged(model)
        else Path(model) / MEMORISATION.parent
    )


def kept_calibration(folder: Path, learned: Learned, view: View) -> tuple[Whitening, Calibration] | None:
    """The calibration in `folder` for these images, with any settings; None if there is none."""
    kept = _read(folder, learned, view)
    return kept[1:] if kept else None


def _identity(learned: Learned, view: View) -> str:
    facts = (view.column, view.info.identity, ALARMS, learned.digest)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def calibrate(
    learned: Learned, view: View, *, strangers: int, copies: int, seed: int
) -> tuple[Whitening, Calibration]:
    """Learn the whitening from a third of the strangers and as many training images, and the threshold from the other
    strangers; then look for changed training images. Raises CatalogError, ModelError.
    """
    rows = learned.strangers(strangers, seed)
    if len(rows) < LEAST_STRANGERS:
        raise ModelError(
            f"the catalogs have {len(rows)} images that the model did not learn from and that are unlike those "
            f"that it did; a threshold needs at least {LEAST_STRANGERS}: import and fetch more, or hold images out"
        )
    learned.compute(view, rows)
    third = len(rows) // 3
    background = [learned.features(view, rows[:third]), learned.features(view, learned.some(third, seed))]
    whitening = Whitening.fit(np.concatenate(background))
    asked = learned.features(view, rows[third:])
    nearest = learned.nearest(view, asked, whitening, 1)
    similarities = np.array([near[0].similarity for near in nearest], np.float32)
    threshold = threshold_of(similarities)
    return whitening, Calibration(
        threshold,
        false_alarms_of(similarities),
        _copies_found(learned, view, whitening, threshold, copies, seed),
        np.sort(similarities),
    )


def _copies_found(
    learned: Learned, view: View, whitening: Whitening, threshold: float, copies: int, seed: int
) -> dict[str, Share]:
    """For each change, how many training images are found again after it, as the autoencoder draws them then."""
    rows = learned.some(copies, seed)
    pairs = [(row, image) for row, image in zip(rows, learned.images(rows), strict=True) if image is not None]
    found = {}
    for name, change in CHANGES.items():
        changed = view.features(view.drawn([change(image) for _, image in pairs]))
        nearest = learned.nearest(view, changed, whitening, TWINS)
        hits = [
            any(each.row == row and each.similarity > threshold for each in near)
            for (row, _), near in zip(pairs, nearest, strict=True)
        ]
        found[name] = Share(sum(hits), len(hits))
    return found


def _written(identity: str, settings: list[int], whitening: Whitening, found: Calibration) -> bytes:
    counts = {name: (each.found, each.of) for name, each in found.copies.items()}
    about = {
        "identity": identity,
        "settings": settings,
        "threshold": found.threshold,
        "false_alarms": (found.false_alarms.found, found.false_alarms.of),
        "copies": counts,
    }
    file = BytesIO()
    np.savez(
        file,
        about=np.array(json.dumps(about)),
        mean=whitening.mean_D,
        matrix=whitening.matrix_DE,
        strangers=found.strangers,
    )
    return file.getvalue()


def _read(folder: Path, learned: Learned, view: View) -> tuple[list[int], Whitening, Calibration] | None:
    """Settings and what `_written` wrote, if it was made from the same images; None otherwise, also for a damaged
    file.
    """
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["identity"] != _identity(learned, view):
                return None
            whitening = Whitening(file["mean"], file["matrix"])
            return (
                about["settings"],
                whitening,
                Calibration(
                    about["threshold"],
                    Share(*about["false_alarms"]),
                    {name: Share(*counts) for name, counts in about["copies"].items()},
                    file["strangers"],
                ),
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
        return None
