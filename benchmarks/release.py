"""`release model` and its page of credits at the size of a real training: seconds, memory, and milliseconds to find a
creator in Chromium.

Run: python benchmarks/release.py [MODEL] [--rows 1000000] [--creators 200000] [--folder build/release]. MODEL is a
finished model folder; default: demo/model. A copy of it gets generated rows and credits; its weights stay. Names and
titles are made of random syllables, with the long tail of real words (Zipf). The page is measured if chromium is
installed: from a key press to the shown names, in the page that is opened from the disk, with a fresh browser.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from commoncanvas import licenses
from commoncanvas.catalog.credits import Credit, write_credits
from commoncanvas.creators.names import normal_name
from commoncanvas.provenance.folder import ROWS
from commoncanvas.provenance.model_card import write_card
from commoncanvas.provenance.record import all_licenses
from commoncanvas.provenance.record_file import RECORD
from commoncanvas.selection.rows import rows_sha256

SYLLABLES = [*map("".join, product("bdhjklmnrstvz", "aeiou"))]
LICENSES = ("CC-BY-2.0", "CC-BY-4.0", "CC-BY-SA-2.0", "CC-BY-SA-4.0", "CC0-1.0")
HELD_OUT = 0.01
# VmHWM, because ru_maxrss begins with the memory of the process that started this one.
CHILD = """
import json, re, sys
from commoncanvas.release.{module} import {call}
{call}(*json.loads(sys.argv[1]))
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) / 1e6)
"""


def vocabulary(random: np.random.Generator, count: int) -> list[str]:
    lengths = random.integers(2, 5, count)
    draws = random.choice(SYLLABLES, int(lengths.sum())).tolist()
    ends = np.cumsum(lengths).tolist()
    return ["".join(draws[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)]


def zipf(random: np.random.Generator, size: tuple[int, ...] | int, below: int) -> np.ndarray:
    """Numbers below `below`; small ones are frequent."""
    return np.minimum(random.zipf(1.15, size), below) - 1


def generated(
    random: np.random.Generator, rows: int, creators: int
) -> tuple[list[str], list[str], list[str]]:
    """Title, creator and licence of each row."""
    words = vocabulary(random, 100_000)
    titles = [
        " ".join(words[each] for each in some).capitalize()
        for some in zipf(random, (rows, 4), len(words)).tolist()
    ]
    first, last = (
        random.integers(0, 5000, creators).tolist(),
        random.integers(0, len(words), creators).tolist(),
    )
    names = [f"{words[a].capitalize()} {words[b].capitalize()}" for a, b in zip(first, last, strict=True)]
    owners = (random.random(rows) ** 2 * creators).astype(int).tolist()
    return titles, [names[each] for each in owners], random.choice(LICENSES, rows).tolist()


def make(model: Path, folder: Path, rows: int, creators: int) -> None:
    """A copy of `model` in `folder` that says that it learned from generated rows."""
    random = np.random.default_rng(0)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("evaluation"))
    titles, names, ids = generated(random, rows, creators)
    known = {each: licenses.parse(each) for each in LICENSES}
    held = (random.random(rows) < HELD_OUT).tolist()
    images = [f"yfcc:{number:010d}" for number in range(rows)]
    table = pa.table(
        {
            "image_id": images,
            "row_id": pa.array(range(rows), pa.uint64()),
            "split": ["heldout" if each else "train" for each in held],
            "text": titles,
            "text_column": ["title"] * rows,
            "license": ids,
            "creator": names,
            "catalog": ["main"] * rows,
        }
    )
    pq.write_table(table, folder / ROWS)
    credits = (
        Credit(
            image, title, name, f"https://photos.example/people/{abs(hash(name)) % creators}", f"https://photos.example/{image}",
            id, known[id].name, known[id].url, "resized from 4000 × 3000 to 341 × 256 pixels",
        )
        for image, title, name, id, out in zip(images, titles, names, ids, held, strict=True)
        if not out
    )  # fmt: skip
    write_credits(credits, "csv", folder / "credits.csv")
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    train = [place for place, out in enumerate(held) if not out]
    counts: dict[str, int] = {}
    for place in train:
        counts[ids[place]] = counts.get(ids[place], 0) + 1
    splits = {"train": len(train), "heldout": rows - len(train), "unused": 0}
    (source,) = [*record["catalogs"].values()][:1]
    record["catalogs"] = {
        "main": source | {"uri": str(folder.parent / "generated.lance"), "rows": splits | {"elsewhere": 0}}
    }
    record |= {"licenses": counts, "creators": len({normal_name(names[place]) for place in train})}
    every = map(licenses.parse, {*counts, *all_licenses(record)})
    combined = licenses.combine(every)
    record |= {
        "result_license": combined.result and combined.result.id,
        "result_license_note": combined.message,
    }
    record["rows"] = splits | {"sha256": rows_sha256(table, ["main"])}
    (folder / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")
    write_card(folder, record["name"])
    run = model.with_name(f"{model.name}-run")
    shutil.rmtree(folder.with_name(f"{folder.name}-run"), ignore_errors=True)
    if (run / "log.jsonl").is_file():
        folder.with_name(f"{folder.name}-run").mkdir()
        shutil.copy(run / "log.jsonl", folder.with_name(f"{folder.name}-run") / "log.jsonl")


def measured(module: str, call: str, *arguments: str) -> tuple[float, float]:
    """Seconds and GB of a call in a process of its own."""
    began = time.perf_counter()
    code = CHILD.format(module=module, call=call)
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    return time.perf_counter() - began, float(done.stdout.split()[-1])


@contextmanager
def chromium(page: Path) -> Iterator[int]:
    """A headless browser with `page` open; the port of its debugger."""
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        page.absolute().as_uri(),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        try:
            assert browser.stderr
            for line in browser.stderr:
                if "DevTools listening" in line:
                    yield int(line.split("127.0.0.1:")[1].split("/")[0])
                    break
        finally:
            browser.terminate()


FIND = """
(async () => {
  const input = document.getElementById("query");
  delete document.body.dataset.asked;
  delete document.body.dataset.people;
  const began = performance.now();
  input.value = QUERY;
  input.dispatchEvent(new Event("input"));
  while (document.body.dataset.people !== QUERY) await new Promise((next) => setTimeout(next));
  await new Promise((next) => requestAnimationFrame(() => setTimeout(next)));
  const ms = performance.now() - began;
  while (document.body.dataset.asked !== QUERY) await new Promise((next) => setTimeout(next));
  return { ms, all_ms: performance.now() - began, people: document.querySelectorAll("#people .person").length,
           works: document.querySelectorAll("#works li").length, status: document.getElementById("status").textContent,
           first: document.querySelector("#people .person")?.textContent };
})()
"""


async def found(port: int, queries: list[str]) -> list[dict[str, Any]]:
    """Types each query into the page; what it shows and how long it took."""
    import aiohttp

    answers = []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/json") as response:
            (tab,) = [each for each in await response.json() if each["type"] == "page"]
        async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:

            async def evaluate(code: str) -> Any:
                options = {"expression": code, "awaitPromise": True, "returnByValue": True}
                await socket.send_json({"id": 1, "method": "Runtime.evaluate", "params": options})
                while (answer := await socket.receive_json()).get("id") != 1:
                    pass
                return answer["result"]["result"].get("value")

            while not await evaluate("document.body?.dataset.asked !== undefined"):
                await asyncio.sleep(0.02)
            for query in queries:
                answers.append({"query": query} | await evaluate(FIND.replace("QUERY", json.dumps(query))))
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, nargs="?", default=Path("demo/model"))
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--creators", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, default=Path("build/release"))
    parser.add_argument("--page-only", action="store_true", help="measure the page that an earlier call made")
    options = parser.parse_args()
    model, out = options.folder / "model", options.folder / "release"
    if not options.page_only:
        options.folder.mkdir(parents=True, exist_ok=True)
        make(options.model, model, options.rows, options.creators)
        shutil.rmtree(out, ignore_errors=True)
        seconds, memory = measured("model.command", "release_model", str(model), str(out))
        print(f"release model: {seconds:.1f} s, {memory:.2f} GB")
        seconds, memory = measured("check", "check_model", str(out))
        print(f"release check: {seconds:.1f} s, {memory:.2f} GB")
    if not shutil.which("chromium"):
        print("the page was not measured: chromium is not installed")
        return
    names = [*pq.read_table(out / "credits.parquet", columns=["creator"])["creator"].unique().to_pylist()]
    chosen = np.random.default_rng(1).choice(names, 20).tolist()
    columns = pq.read_table(out / "credits.parquet", columns=["image_id", "creator_url", "source_url"])
    rows = np.random.default_rng(2).choice(len(columns), 20, replace=False)
    exact = [each for name in columns.column_names for each in columns[name].take(rows).to_pylist()]
    keys = sum(path.stat().st_size for path in (out / "credits").glob("keys-*.js"))
    every = sum(path.stat().st_size for path in (out / "credits").iterdir())
    print(f"index of ids and addresses: {keys / 1e6:.1f} of {every / 1e6:.1f} MB")
    with chromium(out / "credits.html") as port:
        queries = [*chosen, *(each[:5] for each in chosen), *exact]
        answers = asyncio.run(found(port, queries))
    kinds = ("whole names", "first five letters", "image ids", "profile addresses", "page addresses")
    for number, kind in enumerate(kinds):
        some = answers[20 * number : 20 * number + 20]
        times = [each["ms"] for each in some]
        print(f"{kind}: median {statistics.median(times):.0f} ms, most {max(times):.0f} ms")
    missed = [each["query"] for each in answers[:20] if each["query"] not in (each["first"] or "")]
    unfound = [each["query"] for each in answers[40:] if not each["works"] + each["people"]]
    print(f"ids and addresses that were not found: {len(unfound)} {unfound[:5]}")
    print(f"names that were not the first result: {len(missed)} {missed[:5]}")


if __name__ == "__main__":
    main()
