"""Pairs of images in an arena's file: of two models, and for checks of an image and noise."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from commoncanvas.arena.blind import blind_id, image_path, noise_like, sizes, write_image
from commoncanvas.arena.chooser import NOISE, REAL, seeded
from commoncanvas.arena.database import CREDITS, write_settings
from commoncanvas.arena.models import Place
from commoncanvas.arena.real import real_images

NOISE_PAIRS = 24
"""Images against noise that an arena has."""


def place_id(secret: str, name: str, place: Place) -> str:
    """The id of a model's image."""
    return blind_id(secret, name, place[0].id, place[1])


def add_pairs(connection: sqlite3.Connection, secret: str, names: list[str], places: list[Place]) -> int:
    """Store prompts, images and pairs of models at once; returns how many pairs are new."""
    connection.execute("BEGIN IMMEDIATE")
    prompts = {prompt.id: prompt for prompt, _ in places}
    connection.executemany(
        "INSERT OR IGNORE INTO prompts VALUES (?, ?, ?)",
        [(each.id, each.text, each.category) for each in prompts.values()],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?)",
        [(place_id(secret, name, place), name, place[0].id, place[1]) for name in names for place in places],
    )
    matching = connection.execute(
        "SELECT one.id, two.id FROM images one JOIN images two ON one.prompt = two.prompt "
        "AND one.number = two.number AND one.model < two.model WHERE ? NOT IN (one.model, two.model) "
        "AND ? NOT IN (one.model, two.model)",
        (NOISE, REAL),
    ).fetchall()
    before = connection.total_changes
    _store(connection, secret, [tuple(pair) for pair in matching])
    new = connection.total_changes - before
    connection.execute("COMMIT")
    return new


def _store(connection: sqlite3.Connection, secret: str, pairs: list[tuple[str, str]]) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO pairs (id, first, second) VALUES (?, ?, ?)",
        [(blind_id(secret, "pair", *pair)[:16], *pair) for pair in pairs],
    )


def add_noise(connection: sqlite3.Connection, folder: Path, settings: dict[str, Any]) -> None:
    """Pair images with images of noise, until there are NOISE_PAIRS: real images, if the arena has a source of them, or
    those of the models.
    """
    there = connection.execute("SELECT count(*) FROM images WHERE model = ?", (NOISE,)).fetchone()[0]
    if settings["real_images"]:
        if not there:
            _add_real(connection, folder, settings)
        return
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
    _store(connection, settings["secret"], pairs)
    connection.execute("COMMIT")


def _add_real(connection: sqlite3.Connection, folder: Path, settings: dict[str, Any]) -> None:
    """Store NOISE_PAIRS real images with their texts and credits, each with an image of noise."""
    models = [row[0] for row in connection.execute("SELECT id FROM images")]
    largest = max(sizes(folder, models), key=lambda size: size[0] * size[1])
    prompts: list[tuple[str, str, str]] = []
    images: list[tuple[str, str, str, int]] = []
    pairs: list[tuple[str, str]] = []
    credits: list[str] = []
    for each in real_images(settings["real_images"], NOISE_PAIRS, settings["shuffle_seed"]):
        prompt = f"real-{blind_id(settings['secret'], REAL, len(prompts), each.text)[:16]}"
        real, noise = (blind_id(settings["secret"], kind, prompt, 0) for kind in (REAL, NOISE))
        each.image.thumbnail(largest)
        write_image(image_path(folder, real), each.image)
        write_image(image_path(folder, noise), noise_like(image_path(folder, real), noise))
        prompts.append((prompt, each.text, ""))
        images += [(real, REAL, prompt, 0), (noise, NOISE, prompt, 0)]
        pairs.append((real, noise))
        credits.append(each.credit)
    settings[CREDITS] = sorted({each for each in credits if each})
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO prompts VALUES (?, ?, ?)", prompts)
    connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", images)
    _store(connection, settings["secret"], pairs)
    write_settings(connection, {CREDITS: settings[CREDITS]})
    connection.execute("COMMIT")
