"""Copies of pictures that were taken down: how many `fetch` holds back by the hash alone, and how many strangers.

Run: python benchmarks/reuploads.py [--stones 100]. Needs the extras train and xs, whose packages bring the pictures:
tiles of photos and OpenMoji's drawings, those that look-up's thresholds were not chosen on. Half of each kind is taken
down, at most `--stones`; the others are the strangers. A drawing has sisters, in another skin tone or pose, that its
hash can't tell from it.
"""

from __future__ import annotations

import argparse
import random
import time

import numpy as np
from lookup import CHANGES, Picture, cropped, drawings, jpeg, leaves, tiles

from commoncanvas.images.copies import find_copy, make_query
from commoncanvas.images.image import decode, encode_image, load, phash


def saved(picture: Picture, quality: int) -> Picture:
    return decode(encode_image(picture, "jpeg", quality))


ALL = {
    "saved anew, JPEG quality 97": lambda picture: saved(picture, 97),
    **CHANGES,
    "cropped by 10 % at one corner": lambda picture: cropped(picture, 0.1, 0.1, 0, 0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stones", type=int, default=100)
    most = parser.parse_args().stones
    kinds = {
        "photo tiles": list(tiles()),
        "dead leaves": [leaves(seed) for seed in range(2 * most)],
        "drawings": drawings(),
    }
    for kind, pictures in kinds.items():
        random.Random(0).shuffle(pictures)
        count = min(most, len(pictures) // 2)
        stones, strangers = pictures[:count], pictures[count : 5 * count]
        hashes = np.array([phash(saved(one, 95)) for one in stones], np.uint64)
        for change, changed in ALL.items():
            copies = [
                load(jpeg(changed(one)), 512)[0] if change in CHANGES else changed(one) for one in stones
            ]
            found = [find_copy(make_query(one), hashes) for one in copies]
            right = sum(one is not None and one.index == at for at, one in enumerate(found))
            held = sum(one is not None for one in found)
            print(
                f"{kind}, {change}: {held / count:.3f} of {count} held back, {right / count:.3f} for the right one"
            )
        began = time.perf_counter()
        held = sum(find_copy(make_query(one), hashes) is not None for one in strangers)
        each_ms = 1000 * (time.perf_counter() - began) / len(strangers)
        print(f"{kind}, strangers: {held} of {len(strangers)} held back; {each_ms:.1f} ms an image")


if __name__ == "__main__":
    main()
