"""The arena under load and under SIGKILL: the whole server in a process of its own, real HTTP on loopback.

Run: python benchmarks/arena.py [--raters 50] [--seconds 60] [--kills 20] [--think 0] [--folder build/arena]. It takes
about three minutes; nothing else should run meanwhile. Made-up images of three models; each rater loads both images,
votes, waits `--think` seconds (0 is harder than people are), sends every tenth vote twice, and goes back after every
25th. First `--raters` vote for `--seconds`; then they vote on while the server is killed `--kills` times. After each
part, the votes on the disk are compared with those that the server had acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from commoncanvas.arena.command import build
from commoncanvas.arena.database import connect
from commoncanvas.options.arena import ArenaOptions

ANSWERS = ("left", "right", "both", "neither")
TWICE_EVERY, BACK_EVERY = 10, 25
RETRY_S = 0.05


def make_arena(folder: Path, prompts: int, asking: ArenaOptions, models: int = 3, side: int = 64) -> Path:
    """An arena of made-up images of `models` models, which are in folders beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    rows = [f"a picture of thing {number}\tkind {number % 7}" for number in range(prompts)]
    (folder / "prompts.tsv").write_text("\n".join(["prompt\tcategory", *rows]), encoding="utf-8")
    names = [f"model-{number}" for number in range(models)]
    for name in names:
        (folder / name).mkdir(exist_ok=True)
        for number in range(prompts):
            small = draw.integers(0, 256, (4, 4, 3), np.uint8)
            image = Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{number:05}.png")
    arena = folder / "arena"
    build([str(folder / name) for name in names], str(folder / "prompts.tsv"), arena, asking=asking)
    return arena


class Server:
    """`commoncanvas arena serve` in a process of its own. Started again, it has the same port."""

    def __init__(self, arena: Path, *words: str) -> None:
        self.arena, self.words = arena, words
        self.log = arena.parent / "server.log"
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "commoncanvas", "arena", "serve", str(self.arena)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port), *self.words], stderr=log)
        until = time.monotonic() + 60
        while not (found := re.search(r"serving at: (http://\S+:(\d+)/)", self.log.read_text())):
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the server did not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.url, self.port = found[1], int(found[2])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(60)


@dataclass
class Heard:
    """What raters heard from the server."""

    votes: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """(assignment, question, attempt) -> answer, of each acknowledged vote."""
    undone: set[tuple[str, str, int]] = field(default_factory=set)
    vote_s: list[float] = field(default_factory=list)
    """Seconds from sending a vote to the next pair."""
    other_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


class Rater:
    """A person's browser. `patient`: it sends again what got no answer, as the page's button does."""

    def __init__(self, url: str, heard: Heard, number: int, think_s: float, patient: bool) -> None:
        self.url, self.heard, self.think_s, self.patient = url, heard, think_s, patient
        self.draw = random.Random(number)
        self.stop = False

    async def run(self) -> None:
        jar = aiohttp.CookieJar(unsafe=True)  # cookies of an IP address
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(30)) as self.session:
            await self.ask("POST", "start", data={"consent": "yes"})
            task = await self.ask("GET", "api/task")
            turn = 0
            while not self.stop and task is not None and not task["finished"]:
                for side in ("left", "right"):
                    await self.ask("GET", task[side][1:])
                if self.think_s:
                    await asyncio.sleep(self.draw.expovariate(1 / self.think_s))
                turn += 1
                task = await self.vote(task, turn)

    async def vote(self, task: dict[str, Any], turn: int) -> dict[str, Any] | None:
        key = (task["assignment"], task["question"], task["attempt"])
        names = ("assignment", "question", "attempt")
        body = {**dict(zip(names, key, strict=True)), "answer": self.draw.choice(ANSWERS), "seconds": 1.5}
        again = turn % TWICE_EVERY == 0
        sent = [self.ask("POST", "api/vote", json=body) for _ in range(2 if again else 1)]
        answers = await asyncio.gather(*sent)
        if answers[0] is None:
            return None
        self.heard.votes[key] = body["answer"]
        if again and not self.patient and answers[0] != answers[1]:
            self.heard.errors["a vote sent twice had two effects"] += 1
        # Going back is not sent twice: while the server is killed, nobody knows whether it happened.
        if turn % BACK_EVERY == 0 and not self.patient:
            self.heard.undone.add(key)
            return await self.ask("POST", "api/undo", json={})
        return answers[0]

    async def ask(self, method: str, path: str, **body: Any) -> dict[str, Any] | None:
        """The answer's JSON; {} for other answers; None if there was an error."""
        while True:
            began = time.perf_counter()
            try:
                async with self.session.request(method, f"{self.url}{path}", **body) as answer:
                    content = await answer.read()
                    if answer.status == 200:
                        times = self.heard.vote_s if path == "api/vote" else self.heard.other_s
                        times.append(time.perf_counter() - began)
                        return json.loads(content) if answer.content_type == "application/json" else {}
                    self.heard.errors[f"{method} {path.partition('/')[0]}: {answer.status}"] += 1
                    return None
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                if not self.patient:
                    self.heard.errors[type(error).__name__] += 1
                    return None
                if self.stop:
                    return None
                await asyncio.sleep(RETRY_S)


def vote_for(url: str, raters: int, seconds: float, think_s: float = 0.0) -> Heard:
    """`raters` people vote at once for some seconds."""

    async def run() -> Heard:
        heard = Heard()
        people = [Rater(url, heard, number, think_s, patient=False) for number in range(raters)]
        work = [asyncio.create_task(each.run()) for each in people]
        await asyncio.wait(work, timeout=seconds)
        for each in people:
            each.stop = True
        await asyncio.gather(*work)
        return heard

    return asyncio.run(run())


def vote_and_kill(server: Server, raters: int, kills: int, think_s: float = 0.0, seed: int = 0) -> Heard:
    """`raters` people vote while the server is killed `kills` times at random moments, and started again."""

    async def run() -> Heard:
        heard, draw = Heard(), random.Random(seed)
        people = [Rater(server.url, heard, number, think_s, patient=True) for number in range(raters)]
        work = [asyncio.create_task(each.run()) for each in people]
        for _ in range(kills):
            before = len(heard.votes)
            while len(heard.votes) < before + 5:
                await asyncio.sleep(0.01)
            await asyncio.sleep(draw.uniform(0, 0.5))
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        for each in people:
            each.stop = True
        await asyncio.gather(*work)
        return heard

    return asyncio.run(run())


def check(arena: Path, heard: Heard) -> list[str]:
    """What is wrong with the votes on the disk; nothing, if all is well."""
    connection = connect(arena)
    rows = connection.execute("SELECT assignment, question, attempt, answer, undone_at FROM votes").fetchall()
    found = {(row[0], row[1], row[2]): row for row in rows}
    standing = Counter((row[0], row[1]) for row in rows if row["undone_at"] is None)
    complete = connection.execute(
        "SELECT count(*) FROM assignments WHERE complete != (SELECT count(*) >= 1 FROM votes "
        "WHERE assignment = id AND undone_at IS NULL)"
    ).fetchone()[0]
    whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    lost = [key for key, answer in heard.votes.items() if key not in found or found[key]["answer"] != answer]
    wrong = {
        "acknowledged votes that are lost or changed": len(lost),
        "votes that count twice": sum(count > 1 for count in standing.values()),
        "votes taken back that still count": sum(
            found[key]["undone_at"] is None for key in heard.undone & found.keys()
        ),
        "assignments that are wrongly complete or open": complete,
    }
    return [f"{count} {what}" for what, count in wrong.items() if count] + ([whole] if whole != "ok" else [])


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return float(np.quantile(times, share)) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--think", type=float, default=0.0)
    parser.add_argument("--prompts", type=int, default=1600)
    parser.add_argument("--folder", type=Path, default=Path("build/arena"))
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    arena = make_arena(options.folder, options.prompts, ArenaOptions(per_rater=0))
    os.environ["COMMONCANVAS_TOKEN"] = ""
    server = Server(arena)
    heard = vote_for(server.url, options.raters, options.seconds, options.think)
    print(f"{options.raters} raters for {options.seconds:g} s: {len(heard.votes):,} votes acknowledged")
    print(f"votes a second: {len(heard.vote_s) / options.seconds:,.0f}")
    wrong = [f"{count} x {what}" for what, count in heard.errors.items()] + check(arena, heard)
    print("; ".join(wrong) or "no vote lost or doubled, no error")
    for name, times in (("vote to next pair", heard.vote_s), ("images and pages", heard.other_s)):
        shown = ", ".join(
            f"{100 * share:g} %: {percentile(times, share):.0f} ms" for share in (0.5, 0.95, 0.99)
        )
        print(f"{name}: {shown}")
    killed = vote_and_kill(server, options.raters, options.kills, options.think)
    killed.votes |= heard.votes
    print(f"SIGKILL {options.kills} times: {len(killed.votes) - len(heard.votes):,} more votes acknowledged")
    wrong += check(arena, killed)
    print(f"exit code after SIGTERM: {server.stop()}")
    print("; ".join(wrong) or "no vote lost or doubled, no error")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
