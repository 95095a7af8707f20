"""Kill a server while people send requests to take pictures out: is each acknowledged one on the disk, exactly once?

    python benchmarks/takedown_requests.py [--kills 20] [--people 8]

It serves a small catalog of its own (`commoncanvas serve --catalog`), sends requests from several threads, kills the
server with SIGKILL at random moments, and starts it again. A request that got no answer is sent again with the same
form, as a person would do it.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.catalog.takedown import requests as store
from commoncanvas.table.schema import to_batch

PICTURES = 400
READY = re.compile(r"serving at: (\S+)")
PLACE = re.compile(r"/requests/cc/(\d+)\?code=([\w-]+)")


def make_catalog(folder: Path) -> str:
    catalog = Catalog.create(folder / "cc.lance")
    rows = (
        {"image_id": f"x:{number}", "source": "x", "title": f"Picture {number}", "license": "CC0-1.0"}
        for number in range(PICTURES)
    )
    catalog.add([to_batch(rows)])
    return catalog.uri


class Server:
    """`commoncanvas serve --catalog` in a process of its own, always at the same port."""

    def __init__(self, uri: str) -> None:
        self.uri, self.port = uri, 0
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "commoncanvas",
            "serve",
            "--catalog",
            self.uri,
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = ""
        while not (found := READY.search(said)):
            line = self.process.stderr.readline()
            if not line:
                raise RuntimeError(f"the server ended: {said}")
            said += line
        self.url = found[1]
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@dataclass
class Heard:
    """What people sent, and what the server acknowledged."""

    sent: dict[str, str] = field(default_factory=dict)
    """Code -> reason."""
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Code -> number."""
    refused: int = 0
    odd: list[str] = field(default_factory=list)
    """Answers that are neither."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def person(server: Server, heard: Heard, number: int, stop: threading.Event) -> None:
    """Send requests until `stop`; one without an answer is sent again with the same code."""
    opener, draw = urllib.request.build_opener(_NoRedirect), random.Random(number)
    while not stop.is_set():
        code, reason = f"{draw.getrandbits(160):040x}", f"reason {draw.getrandbits(64):x}"
        heard.sent[code] = reason
        fields = {"scope": "image", "reason": reason, "contact": "me", "good_faith": "yes", "code": code}
        data = urllib.parse.urlencode(fields).encode()
        path = f"catalog/cc/x%3A{draw.randrange(PICTURES)}"
        while not stop.is_set():
            try:
                opener.open(server.url + path, data, timeout=20)
            except urllib.error.HTTPError as answer:
                place = PLACE.search(answer.headers.get("location", ""))
                if answer.code == 303 and place and place[2] == code:
                    heard.acknowledged[code] = int(place[1])
                elif answer.code == 429:
                    heard.refused += 1
                    stop.wait(0.05)
                else:
                    heard.odd.append(f"{answer.code} {answer.headers.get('location')}")
                break
            except OSError:
                stop.wait(0.02)  # killed: send it again


def ask_and_kill(server: Server, people: int, kills: int, seed: int = 0) -> Heard:
    """People send requests while the server is killed at random moments, and started again."""
    heard, draw, stop = Heard(), random.Random(seed), threading.Event()
    threads = [
        threading.Thread(target=person, args=(server, heard, number, stop)) for number in range(people)
    ]
    for thread in threads:
        thread.start()
    for _ in range(kills):
        before = len(heard.acknowledged)
        while len(heard.acknowledged) < before + 5:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.3))
        server.kill()
        server.start()
    stop.set()
    for thread in threads:
        thread.join()
    server.kill()
    return heard


def check(uri: str, heard: Heard) -> list[str]:
    """What is wrong with the requests on the disk; nothing, if all is well."""
    kept = store.Requests.make(store.requests_folder(uri))
    rows = kept.with_states("open")
    connection = sqlite3.connect(kept.path)
    whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    found = {code: kept.of_person(number, code) for code, number in heard.acknowledged.items()}
    times = Counter(row.reason for row in rows)
    wrong = {
        "acknowledged requests that are lost": sum(each is None for each in found.values()),
        "acknowledged requests that changed": sum(
            each is not None and each.reason != heard.sent[code] for code, each in found.items()
        ),
        "requests that are there twice": sum(count > 1 for count in times.values()),
        "requests that nobody sent": len(set(times) - set(heard.sent.values())),
        "odd answers": len(heard.odd),
    }
    return [f"{count} {what}" for what, count in wrong.items() if count] + ([whole] if whole != "ok" else [])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--people", type=int, default=8)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uri = make_catalog(Path(folder))
        heard = ask_and_kill(Server(uri), chosen.people, chosen.kills)
        problems = check(uri, heard)
    print(
        f"{chosen.kills} kills, {len(heard.acknowledged):,} acknowledged requests, {heard.refused:,} refused with 429"
    )
    print("; ".join(problems) or "none is lost, none is there twice")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
