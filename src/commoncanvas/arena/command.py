"""`arena build`: images of several models for the same prompts, made blind, and the pairs of them.

It can be stopped at any time, and run again on an arena that is served: images that are there are not made again, new
pairs appear to raters at once, and votes stay.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from commoncanvas.arena.ballots import ALIGNMENT, PREFERENCE, now
from commoncanvas.arena.blind import FOLDER, image_path, sizes, write_image
from commoncanvas.arena.chooser import NOISE, REAL
from commoncanvas.arena.database import CREDITS, connect, settings_of, write_settings
from commoncanvas.arena.models import Images, Place, models_of
from commoncanvas.arena.pairing import NOISE_PAIRS, add_noise, add_pairs, place_id
from commoncanvas.arena.prompts import prompts_of
from commoncanvas.arena.real import real_images
from commoncanvas.arena.result import BuiltArena
from commoncanvas.arena.statistics.checks import RULE
from commoncanvas.arena.statistics.tables import PEOPLE, SCOPE
from commoncanvas.core.console import say
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.files import only_one, replace_json, why
from commoncanvas.core.version import __version__
from commoncanvas.options.arena import DEFAULTS, ArenaOptions, CheckRule
from commoncanvas.options.generate import DEFAULTS as DRAW
from commoncanvas.options.generate import DrawOptions

MANIFEST = "arena.json"
FIXED = {"alignment", "shuffle_seed", "real_images", RULE}
NOT_REAL = f"id NOT IN (SELECT prompt FROM images WHERE model = '{REAL}')"
"""Prompts that are not just the text of a real image."""
FIRST = {
    "title": "Which image is better?",
    "alignment": False,
    "per_rater": 40,
    "checks": 0.1,
    "consent": "",
    "real_images": "",
    CREDITS: [],
    "shuffle_seed": 0,
    RULE: asdict(CheckRule()),
    SCOPE: PEOPLE,
}


def build(
    models: Sequence[str],
    prompts: str,
    out: str | Path,
    drawing: DrawOptions = DRAW,
    asking: ArenaOptions = DEFAULTS,
) -> BuiltArena:
    """Make an arena in the folder `out`, or add to it: images of `models` for `prompts`, and the pairs of all models
    that have an image of the same prompt.

    `models`: model folders, hub ids, or folders of ready images, each optionally as NAME=FOLDER. `prompts`:
    `parti:PartiPrompts.tsv` or another suite and its file; or a file of one's own.
    Raises ArenaError, RecipeError and ModelError for what can't be used.
    """
    folder = Path(out)
    file = prompts_of(prompts)
    if drawing.count < 1:
        raise ArenaError(f"count {drawing.count}: give at least 1")
    sources = models_of(models, file, drawing)
    places = [(prompt, number) for prompt in file.prompts for number in range(drawing.count)]
    for source in sources.values():
        source.check(places)
    if asking.real_images:  # before it is stored as fixed
        real_images(asking.real_images, NOISE_PAIRS, asking.shuffle_seed or 0)
    with only_one(folder / FOLDER), closing(connect(folder, make=True)) as connection:
        settings = _settings(connection, asking)
        for name, source in sources.items():
            _make(connection, folder, settings["secret"], name, source, places)
        new = add_pairs(connection, settings["secret"], list(sources), places)
        add_noise(connection, folder, settings)
        result = _result(connection, folder, settings, new)
        write_manifest(connection, folder, settings, result)
    return result


def _settings(connection: sqlite3.Connection, asking: ArenaOptions) -> dict[str, Any]:
    """The arena's settings with those that were given now, which are stored. Raises ArenaError for a fixed one."""
    before = settings_of(connection)
    given = {name: value for name, value in asdict(asking).items() if value is not None}
    if "consent" in given:
        given["consent"] = _text(Path(given["consent"]))
    for name in FIXED & given.keys() & before.keys():
        if given[name] != before[name]:
            values = (before[name], given[name])
            now_, new = map(CheckRule.of, values) if name == RULE else values
            raise ArenaError(
                f"{name.replace('_', '-')}: {now_ or 'none'} in this arena, and fixed; make a new arena for: {new}"
            )
    fresh = {**FIRST, "secret": secrets.token_hex(32), "id": secrets.token_hex(4), "made_at": now()}
    found = {**fresh, **before, **given}
    write_settings(connection, {name: found[name] for name in found if name in given or name not in before})
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = why(error) if isinstance(error, OSError) else "not UTF-8"
        raise ArenaError(f"{path} can't be read: {reason}") from error


def _make(
    connection: sqlite3.Connection, folder: Path, secret: str, name: str, source: Images, places: list[Place]
) -> None:
    """Draw or copy the images of one model that are missing. Raises ArenaError if it draws otherwise than before."""
    drawing = json.dumps(source.drawing)
    known = connection.execute("SELECT sha256, drawing FROM models WHERE name = ?", (name,)).fetchone()
    if known is not None and known["drawing"] != drawing:
        raise ArenaError(
            f"model {name} has images with other settings in this arena: {known['drawing']}, not {drawing}; "
            "give the same, or another name: NAME=FOLDER"
        )
    connection.execute("INSERT OR IGNORE INTO models (name, drawing) VALUES (?, ?)", (name, drawing))
    sha256 = known["sha256"] if known is not None else None
    todo = [place for place in places if not _path(folder, secret, name, place).exists()]
    for place, (image, drawn_by) in zip(todo, source.images(todo) if todo else (), strict=True):
        if drawn_by is not None and sha256 is None:
            connection.execute("UPDATE models SET sha256 = ? WHERE name = ?", (drawn_by, name))
            sha256 = drawn_by
        if drawn_by != sha256:
            raise ArenaError(
                f"model {name} has other weights than for the images before; give it another name"
            )
        write_image(_path(folder, secret, name, place), image)


def _path(folder: Path, secret: str, name: str, place: Place) -> Path:
    return image_path(folder, place_id(secret, name, place))


def _result(connection: sqlite3.Connection, folder: Path, settings: dict[str, Any], new: int) -> BuiltArena:
    counts = dict(
        connection.execute("SELECT model, count(*) FROM images GROUP BY model ORDER BY model").fetchall()
    )
    noise = counts.pop(NOISE, 0)
    counts.pop(REAL, None)
    categories = connection.execute(
        f"SELECT category, count(*) AS prompts FROM prompts WHERE {NOT_REAL} GROUP BY category "
        "ORDER BY prompts DESC, category"
    )
    pairs = connection.execute("SELECT count(*) FROM pairs").fetchone()[0] - noise
    images = [
        row[0] for row in connection.execute("SELECT id FROM images WHERE model NOT IN (?, ?)", (NOISE, REAL))
    ]
    found = sizes(folder, images)
    if len(found) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(found)[:4])
        say(f"the images have {len(found)} different sizes ({shown}): raters may know a model by it")
    return BuiltArena(
        folder=str(folder),
        models=counts,
        prompts=connection.execute(f"SELECT count(*) FROM prompts WHERE {NOT_REAL}").fetchone()[0],
        categories=dict(categories.fetchall()),
        pairs=pairs,
        new_pairs=new,
        noise_pairs=noise,
        questions=(PREFERENCE, ALIGNMENT) if settings["alignment"] else (PREFERENCE,),
        per_rater=settings["per_rater"],
    )


def _digest(connection: sqlite3.Connection) -> str:
    """SHA-256 of all prompts, a line each, in the order of their ids."""
    texts = connection.execute(f"SELECT text FROM prompts WHERE {NOT_REAL} ORDER BY id")
    return hashlib.sha256("".join(f"{text}\n" for (text,) in texts).encode()).hexdigest()


def write_manifest(
    connection: sqlite3.Connection, folder: Path, settings: dict[str, Any], result: BuiltArena
) -> None:
    """`arena.json`: what was compared and how, for people and for reports; it does not name the images' models."""
    models = connection.execute("SELECT name, sha256, drawing FROM models ORDER BY name").fetchall()
    asked = {name: settings[name] for name in FIRST}
    about = {
        "software": f"commoncanvas {__version__}",
        "made_at": settings["made_at"],
        "models": [
            {"name": row["name"], "weights_sha256": row["sha256"], "drawing": json.loads(row["drawing"])}
            for row in models
        ],
        "questions": list(result.questions),
        "prompts": result.prompts,
        "prompts_sha256": _digest(connection),
        "categories": result.categories,
        "pairs": result.pairs,
        "noise_pairs": result.noise_pairs,
        **asked,
    }
    replace_json(folder / MANIFEST, about)
