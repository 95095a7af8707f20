"""What the page Draw costs: unfinished pictures, and the search for the nearest training images beside the drawing.

Run: python benchmarks/drawing_page.py --catalog CATALOG [--model xs] [--images 16] [--steps 25]. CATALOG is the one
that the model learned from; a copy of it is used. For `xs` it takes about three minutes, most of them for the first
look at all training images; nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from serving import server

PROMPTS = ("deer", "cat face", "red heart", "tree", "house", "boat", "star", "apple")


def seconds(call: Callable[[int], Any], count: int) -> float:
    """Median time of a call."""
    taken = []
    for number in range(count):
        began = time.perf_counter()
        call(number)
        taken.append(time.perf_counter() - began)
    return median(taken)


def asked(number: int, steps: int) -> dict[str, Any]:
    return {"prompt": f"a {PROMPTS[number % len(PROMPTS)]}", "seed": number, "steps": steps}


def on_page(client: httpx.Client, number: int, steps: int) -> str:
    """Draw as the page does; the name of the picture."""
    with client.stream("POST", "draw/images", json=asked(number, steps)) as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
    name: str = json.loads(lines[-1].removeprefix("data: "))["name"]
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="xs")
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    options = parser.parse_args()
    count, steps = options.images, options.steps
    with tempfile.TemporaryDirectory() as folder:
        catalog = shutil.copytree(options.catalog, Path(folder) / "catalog.lance")
        command = ["-m", "commoncanvas", "serve", options.model, "--port", "0", "--catalog", str(catalog)]
        with server(*command) as (url, _), httpx.Client(base_url=url, timeout=600) as client:

            def api(number: int) -> None:
                client.post("v1/images/generations", json=asked(number, steps)).raise_for_status()

            def page(number: int) -> None:
                on_page(client, number, steps)

            api(0)
            alone, watched = seconds(api, count), seconds(page, count)
            print(
                f"an image: {1000 * alone:.0f} ms; with its steps and unfinished pictures {watched / alone:.2f} times"
            )
            near = f"draw/sources/{on_page(client, 0, steps)}"
            began = time.perf_counter()
            while client.get(near).json()["state"] != "found":
                time.sleep(0.5)
            print(f"first look at the training images: {time.perf_counter() - began:.1f} s")
            print(f"a search: {1000 * seconds(lambda _: client.get(near), count):.0f} ms")
            stop = threading.Event()

            def search() -> None:
                with httpx.Client(base_url=url, timeout=600) as other:
                    while not stop.is_set():
                        other.get(near)

            searching = threading.Thread(target=search)
            searching.start()
            beside = seconds(api, count)
            stop.set()
            searching.join()
            print(f"an image while somebody searches without a pause: {beside / alone:.2f} times")


if __name__ == "__main__":
    main()
