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
from commoncanvas.arena.blind import FOLDER, blind_id, image_path, noise_like, sizes, write_image
from commoncanvas.arena.chooser import NOISE, seeded
from commoncanvas.arena.database import connect, settings_of, write_settings
from commoncanvas.arena.models import Images, Place, models_of
from commoncanvas.arena.prompts import prompts_of
from commoncanvas.arena.result import BuiltArena
from commoncanvas.core.console import say
from commoncanvas.core.errors import ArenaError
from commoncanvas.core.files import only_one, replace_text, why
from commoncanvas.core.version import __version__
from commoncanvas.options.arena import DEFAULTS, ArenaOptions
from commoncanvas.options.generate import DEFAULTS as DRAW
from commoncanvas.options.generate import DrawOptions

MANIFEST = "arena.json"
NOISE_PAIRS = 24
"""Images against noise that an arena has."""
FIXED = {"alignment", "shuffle_seed"}
FIRST = {
    "title": "Which image is better?",
    "alignment": False,
    "per_rater": 40,
    "checks": 0.1,
    "consent": "",
    "shuffle_seed": 0,
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
    with only_one(folder / FOLDER), closing(connect(folder, make=True)) as connection:
        settings = _settings(connection, asking)
        if len(sources.keys() | _known(connection)) < 2:
            raise ArenaError(f"{folder} would have one model only; give at least two with --models")
        for name, source in sources.items():
            _make(connection, folder, settings["secret"], name, source, places)
        new = _add(connection, folder, settings, list(sources), places)
        _add_noise(connection, folder, settings)
        result = _result(connection, folder, settings, new)
        write_manifest(connection, folder, settings, result)
    return result


def _known(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT DISTINCT model FROM images")} - {NOISE}


def _settings(connection: sqlite3.Connection, asking: ArenaOptions) -> dict[str, Any]:
    """The arena's settings with those that were given now, which are stored. Raises ArenaError for a fixed one."""
    before = settings_of(connection)
    given = {name: value for name, value in asdict(asking).items() if value is not None}
    if "consent" in given:
        given["consent"] = _text(Path(given["consent"]))
    for name in FIXED & given.keys() & before.keys():
        if given[name] != before[name]:
            shown = name.replace("_", "-")
            raise ArenaError(
                f"{shown} is {before[name]} in this arena, and fixed; make a new arena for {given[name]}"
            )
    fresh = {**FIRST, "secret": secrets.token_hex(32), "id": secrets.token_hex(4), "made_at": now()}
    found = {**fresh, **before, **given}
    write_settings(connection, found)
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


def _id(secret: str, name: str, place: Place) -> str:
    return blind_id(secret, name, place[0].id, place[1])


def _path(folder: Path, secret: str, name: str, place: Place) -> Path:
    return image_path(folder, _id(secret, name, place))


def _add(
    connection: sqlite3.Connection,
    folder: Path,
    settings: dict[str, Any],
    names: list[str],
    places: list[Place],
) -> int:
    """Store prompts, images and pairs at once; returns how many pairs are new."""
    secret = settings["secret"]
    connection.execute("BEGIN IMMEDIATE")
    prompts = {prompt.id: prompt for prompt, _ in places}
    connection.executemany(
        "INSERT OR IGNORE INTO prompts VALUES (?, ?, ?)",
        [(each.id, each.text, each.category) for each in prompts.values()],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?)",
        [(_id(secret, name, place), name, place[0].id, place[1]) for name in names for place in places],
    )
    matching = connection.execute(
        "SELECT one.id, two.id FROM images one JOIN images two ON one.prompt = two.prompt "
        "AND one.number = two.number AND one.model < two.model WHERE ? NOT IN (one.model, two.model)",
        (NOISE,),
    ).fetchall()
    before = connection.total_changes
    _add_pairs(connection, secret, [tuple(pair) for pair in matching])
    new = connection.total_changes - before
    connection.execute("COMMIT")
    return new


def _add_pairs(connection: sqlite3.Connection, secret: str, pairs: list[tuple[str, str]]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO pairs (id, first, second) VALUES (?, ?, ?)",
        [(blind_id(secret, "pair", *pair)[:16], *pair) for pair in pairs],
    )


def _add_noise(connection: sqlite3.Connection, folder: Path, settings: dict[str, Any]) -> None:
    """Pair images of the models with images of noise, until there are NOISE_PAIRS."""
    there = connection.execute("SELECT count(*) FROM images WHERE model = ?", (NOISE,)).fetchone()[0]
    free = connection.execute(
        "SELECT id, prompt, number FROM images one WHERE model != ? AND NOT EXISTS (SELECT 1 FROM images two "
        "WHERE two.model = ? AND two.prompt = one.prompt AND two.number = one.number) ORDER BY id",
        (NOISE, NOISE),
    ).fetchall()
    order = seeded(settings["shuffle_seed"], "noise of", there).permutation(len(free)).tolist()
    chosen: dict[tuple[str, int], str] = {}
    for image, prompt, number in (free[at] for at in order):
        if len(chosen) < NOISE_PAIRS - there:
            chosen.setdefault((prompt, number), image)
    rows = []
    for (prompt, number), image in chosen.items():
        noise = blind_id(settings["secret"], NOISE, prompt, number)
        write_image(image_path(folder, noise), noise_like(image_path(folder, image), noise))
        rows.append((noise, NOISE, prompt, number))
    # People vote meanwhile, so the transaction is short.
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", rows)
    pairs = [(image, row[0]) for image, row in zip(chosen.values(), rows, strict=True)]
    _add_pairs(connection, settings["secret"], pairs)
    connection.execute("COMMIT")


def _result(connection: sqlite3.Connection, folder: Path, settings: dict[str, Any], new: int) -> BuiltArena:
    counts = dict(
        connection.execute("SELECT model, count(*) FROM images GROUP BY model ORDER BY model").fetchall()
    )
    noise = counts.pop(NOISE, 0)
    categories = connection.execute(
        "SELECT category, count(*) AS prompts FROM prompts GROUP BY category ORDER BY prompts DESC, category"
    )
    pairs = connection.execute("SELECT count(*) FROM pairs").fetchone()[0] - noise
    images = [row[0] for row in connection.execute("SELECT id FROM images WHERE model != ?", (NOISE,))]
    found = sizes(folder, images)
    if len(found) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(found)[:4])
        say(f"the images have {len(found)} different sizes ({shown}): raters may know a model by it")
    return BuiltArena(
        folder=str(folder),
        models=counts,
        prompts=connection.execute("SELECT count(*) FROM prompts").fetchone()[0],
        categories=dict(categories.fetchall()),
        pairs=pairs,
        new_pairs=new,
        noise_pairs=noise,
        questions=(PREFERENCE, ALIGNMENT) if settings["alignment"] else (PREFERENCE,),
        per_rater=settings["per_rater"],
    )


def _digest(connection: sqlite3.Connection) -> str:
    """SHA-256 of all prompts, a line each, in the order of their ids."""
    texts = connection.execute("SELECT text FROM prompts ORDER BY id")
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
    replace_text(folder / MANIFEST, json.dumps(about, indent=2, ensure_ascii=False) + "\n")
