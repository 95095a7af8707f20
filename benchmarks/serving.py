"""`commoncanvas serve` under twice the load that it can draw, and beside a lock around the stock diffusers pipeline.

Run: python benchmarks/serving.py [--model demo/model] [--seconds 60] [--clients 16] [--rounds 3] [--steps 25]. It takes
about `--seconds` for the overload, and ten seconds for each server and round; nothing else should run meanwhile. Real
HTTP on loopback; each server is a process of its own, and so is the client, on the same cores.

1. One client, one request after the other: the time of a request without load, and each image as it is alone.
2. `--clients` clients, each with its next request as soon as it has its answer; who gets 429 comes back after
   `retry-after-ms`. Images a second, against a server that has a lock around diffusers' pipeline; median of the rounds.
3. Requests arrive at random moments (Poisson), twice as many as were drawn in 2., whether the server answers or not.
   Each image must be the one of its own seed, bit for bit; each answer 200 or 429.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import numpy as np
import psutil
from PIL import Image

THINGS = ("deer", "cat face", "red heart", "tree", "house", "boat", "star", "apple")
SEEDS = 4
GUIDANCE = 3.0
ROUND_S = 10.0
GENERATIONS = "v1/images/generations"
Case = tuple[str, int]
CASES: list[Case] = [(f"a {thing}", seed) for thing in THINGS for seed in range(SEEDS)]
MOST_GROWTH, MOST_TIMES, LEAST_GAIN = 1.05, 3.0, 2.0
"""The figures to reach: memory, 95th percentile against no load, images a second against the lock."""


def stock_app(model: str) -> Any:
    """What people write first: diffusers' pipeline, a lock, one request at a time."""
    import torch
    from diffusers import DiffusionPipeline
    from fastapi import FastAPI

    pipeline: Any = DiffusionPipeline.from_pretrained(model, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    lock, app = threading.Lock(), FastAPI()

    @app.post(f"/{GENERATIONS}")
    def draw(asked: dict[str, Any]) -> dict[str, Any]:
        with lock:
            image = pipeline(
                asked["prompt"],
                guidance_scale=asked["guidance"],
                num_inference_steps=asked["steps"],
                generator=torch.Generator("cpu").manual_seed(asked["seed"]),
            ).images[0]
        file = BytesIO()
        image.save(file, "PNG")
        return {"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]}

    return app


def serve_stock(model: str) -> None:
    import uvicorn

    from commoncanvas.web.serve import address_of, listen

    app = stock_app(model)
    with listen("127.0.0.1", 0) as listening:
        print(f"serving at: {address_of(listening, '127.0.0.1')}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run([listening])


@contextmanager
def server(*words: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a server in a process of its own, and the process."""
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, *words], stderr=log)
        try:
            while not (found := re.search(r"serving at: (http\S+)", Path(log.name).read_text())):
                if process.poll() is not None:
                    raise RuntimeError(f"the server did not start: {Path(log.name).read_text()}")
                time.sleep(0.05)
            yield found[1], process
        finally:
            process.terminate()
            process.wait(120)


class Client:
    """Asks for images, and notes how long each took and what is wrong."""

    def __init__(self, url: str, steps: int) -> None:
        self.url, self.steps = url, steps
        self.alone: dict[Case, bytes] = {}
        self.seconds: list[float] = []
        self.statuses: Counter[int | str] = Counter()
        self.wrong = 0

    async def ask(self, session: aiohttp.ClientSession, case: Case) -> float:
        """Seconds to wait before the next try; 0: it got the image."""
        body = {"prompt": case[0], "seed": case[1], "steps": self.steps, "guidance": GUIDANCE}
        began = time.perf_counter()
        try:
            async with session.post(f"{self.url}{GENERATIONS}", json=body) as answer:
                found = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[type(error).__name__] += 1
            return 0.0
        self.statuses[answer.status] += 1
        if answer.status == 429:
            return int(answer.headers["retry-after-ms"]) / 1000
        if answer.status == 200:
            self.seconds.append(time.perf_counter() - began)
            image = Image.open(BytesIO(base64.b64decode(found["data"][0]["b64_json"]))).tobytes()
            self.wrong += image != self.alone.setdefault(case, image)
        return 0.0

    def fresh(self) -> Client:
        other = Client(self.url, self.steps)
        other.alone = self.alone
        return other


def session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=300)
    )


async def one_by_one(client: Client) -> None:
    async with session() as http:
        await client.ask(http, CASES[0])
        client.seconds.clear()
        for case in CASES:
            await client.ask(http, case)


async def at_once(client: Client, clients: int, seconds: float) -> float:
    """Images a second of clients that always ask."""
    end = time.perf_counter() + seconds

    async def work(http: aiohttp.ClientSession, number: int) -> None:
        draw = random.Random(number)
        while time.perf_counter() < end:
            await asyncio.sleep(await client.ask(http, draw.choice(CASES)))

    async with session() as http:
        began = time.perf_counter()
        await asyncio.gather(*(work(http, number) for number in range(clients)))
        return len(client.seconds) / (time.perf_counter() - began)


async def overload(client: Client, rate: float, seconds: float, process: psutil.Process) -> list[int]:
    """`rate` requests a second arrive; returns the server's resident bytes, second by second."""
    draw, tasks, memory = random.Random(0), set(), []
    async with session() as http:
        began = next_at = next_look = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            if now >= next_look:
                memory.append(process.memory_info().rss)
                next_look += 1
            if now >= next_at:
                tasks.add(asyncio.create_task(client.ask(http, draw.choice(CASES))))
                next_at += draw.expovariate(rate)
            await asyncio.sleep(max(0.0, min(next_at, next_look) - time.perf_counter()))
        await asyncio.gather(*tasks)
    return memory


def percentile(seconds: list[float]) -> float:
    return float(np.quantile(seconds, 0.95))


def report(client: Client, unloaded: Client, memory: list[int], sent_rate: float) -> list[str]:
    """Print what the overload was like; returns what is below the figures to reach."""
    quarter = max(1, len(memory) // 4)
    growth = float(np.mean(memory[-quarter:]) / np.mean(memory[quarter : 2 * quarter] or memory[:1]))
    times = percentile(client.seconds) / percentile(unloaded.seconds)
    answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(client.statuses.items(), key=str))
    print(
        f"twice the capacity, {sent_rate:.1f} requests/s: {answers}; other images than alone: {client.wrong}"
    )
    print(
        f"95 % of accepted within {1000 * percentile(client.seconds):.0f} ms, without load "
        f"{1000 * percentile(unloaded.seconds):.0f} ms: {times:.2f} times; memory {growth:.3f} times"
    )
    checks = {
        "answers that are neither 200 nor 429": not set(client.statuses) - {200, 429},
        "images of another seed": not client.wrong + unloaded.wrong,
        f"95th percentile of {MOST_TIMES} times": times < MOST_TIMES,
        "memory that grows": growth < MOST_GROWTH,
    }
    return [what for what, passed in checks.items() if not passed]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo/model")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--round-seconds", type=float, default=ROUND_S)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--stock", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stock:
        serve_stock(options.model)
        return
    rates: dict[str, list[float]] = {"commoncanvas": [], "diffusers": []}
    serve = ("-m", "commoncanvas", "serve", options.model, "--port", "0")
    with server(*serve) as (url, process):
        unloaded = Client(url, options.steps)
        asyncio.run(one_by_one(unloaded))
        for _ in range(options.rounds):
            with server(__file__, "--stock", "--model", options.model) as (stock_url, _):
                stock = Client(stock_url, options.steps)
                asyncio.run(at_once(stock.fresh(), 1, 1))  # the first call is slower
                rate = asyncio.run(at_once(stock, options.clients, options.round_seconds))
                rates["diffusers"].append(rate)
            rate = asyncio.run(at_once(unloaded.fresh(), options.clients, options.round_seconds))
            rates["commoncanvas"].append(rate)
        ours, theirs = (median(each) for each in rates.values())
        print(
            f"{options.clients} clients, {options.steps} steps: {ours:.2f} images/s, diffusers behind a lock "
            f"{theirs:.2f}: {ours / theirs:.2f} times"
        )
        loaded = unloaded.fresh()
        memory = asyncio.run(overload(loaded, 2 * ours, options.seconds, psutil.Process(process.pid)))
    failed = report(loaded, unloaded, memory, 2 * ours)
    failed += [f"less than {LEAST_GAIN} times the images"] if ours < LEAST_GAIN * theirs else []
    failed += [f"exit code {process.returncode}"] if process.returncode else []
    print("; ".join(failed) or "all figures reached")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
