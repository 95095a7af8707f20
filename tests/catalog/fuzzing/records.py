"""Records of each source as they should be, and what makes them odd."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.catalog.fuzzing.values import NASTY

Record = dict[str, Any]
LINK = "https://x.example/{}.jpg"


def openverse(number: int) -> Record:
    return {
        "identifier": f"id{number}",
        "url": LINK.format(number),
        "license": "by",
        "license_version": "4.0",
        "creator": "Ada",
        "creator_url": "https://x.example/ada",
        "title": f"Title {number}",
        "tags": "a;b",
        "meta_data": "{}",
        "width": "640",
        "height": "480",
        "foreign_landing_url": LINK.format("p"),
    }


def open_images(number: int) -> Record:
    return {
        "ImageID": f"{number:016x}",
        "Subset": "train",
        "OriginalURL": LINK.format(number),
        "Title": "T",
        "OriginalLandingURL": "https://x.example/p",
        "License": "https://creativecommons.org/licenses/by/2.0/",
        "AuthorProfileURL": "https://x.example/ada",
        "Author": "Ada",
        "Rotation": "0.0",
    }


def commons(number: int) -> Record:
    more = {
        "Artist": "Ada",
        "LicenseShortName": "CC BY 4.0",
        "ImageDescription": "<p>x</p>",
        "ObjectName": "x",
    }
    info = {
        "url": f"https://upload.wikimedia.org/wikipedia/commons/a/a2/{number}.jpg",
        "extmetadata": {name: {"value": value} for name, value in more.items()},
        "width": 10,
        "height": 10,
        "mime": "image/jpeg",
        "timestamp": "2019-11-01T00:05:10Z",
    }
    return {"pageid": number + 1, "title": f"File:{number}.jpg", "imageinfo": [info]}


def museum(number: int) -> Record:
    return {
        "file": f"{number}.png",
        "license": "CC BY 4.0",
        "creator": "Ada",
        "title": f"T {number}",
        "tags": "a;b",
        "date": "2019-05-01",
        "source": "https://x.example/p",
        "description": "one, two",
    }


def downloaded(number: int) -> Record:
    return {
        "key": f"{number:09}",
        "url": LINK.format(number),
        "license": "CC BY 4.0",
        "creator": "Ada",
        "caption": "x",
        "status": "success",
        "error_message": None,
        "original_width": 10,
        "original_height": 10,
    }


def released(number: int) -> Record:
    return {
        "jpg": None,
        "photoid": number + 1,
        "uid": "1@N00",
        "unickname": "Ada",
        "title": "T+x",
        "usertags": "a,b",
        "licensename": "Attribution License",
        "licenseurl": "http://creativecommons.org/licenses/by/2.0/",
        "downloadurl": LINK.format(number),
        "longitude": 13.4,
        "latitude": 52.5,
        "blip2_caption": "a boat",
        "description": "d",
        "datetaken": "2010-05-23 16:29:58",
        "dateuploaded": 1274700598,
        "pageurl": "x",
    }


def shared(number: int) -> Record:
    return {
        "image_url": LINK.format(number),
        "license": "CC BY 4.0",
        "artist": "Ada",
        "title": f"T {number}",
        "id": number,
        "label": 3,
        "url": "https://x.example/p",
    }


def rows_of(rng: random.Random, record: Callable[[int], Record]) -> list[Record]:
    """A few records, some with odd values, at some depth."""
    rows = [record(number) for number in range(rng.randint(1, 8))]
    for row in rows:
        for name in row:
            if rng.random() < 0.08:
                row[name] = rng.choice(NASTY)
        inner: Any = row
        while rng.random() < 0.15 and isinstance(inner, dict | list) and inner:
            place = rng.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
            if rng.random() < 0.5:
                inner[place] = rng.choice(NASTY)
                break
            inner = inner[place]
    return rows
