"""Malformed requests for `commoncanvas serve`, made by schemathesis from the server's own OpenAPI.

Run: python benchmarks/malformed.py [--demo demo] [--requests 5000] [--folder build/schemathesis]. It takes about five
minutes. The server shows all that the folder of `commoncanvas demo` has: the model, a copy of its catalog, further
models, runs. schemathesis is installed into an environment of its own. Some requests that it makes are well formed,
and are drawn with few steps. No answer may be a 5xx, the server's log has no traceback, and each operation of the
schema was asked; at the end the server still draws, and ends by SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import venv
from collections import Counter
from pathlib import Path
from typing import Any

VERSION = "4.32.5"
PER_RUN = 1500
"""Examples of each operation in one run of schemathesis."""


def install(folder: Path) -> Path:
    """The command `schemathesis`."""
    command = folder / "bin" / "schemathesis"
    if not command.exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", f"schemathesis=={VERSION}"]
        subprocess.run(pip, check=True)
    return command


def start(demo: Path, catalog: Path, log: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A server of all parts that draws quickly, and its address."""
    limits = ["--max-steps", "1", "--max-n", "2", "--queue", "64"]
    models = [str(each.parent) for each in sorted(demo.glob("*/provenance.json"))]
    parts = ["--catalog", str(catalog), "--models", *models, "--runs", str(demo)]
    served = [str(demo / "model"), *parts, "--port", "0"]
    command = [sys.executable, "-m", "commoncanvas", "serve", *served, *limits]
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file)
    while not (found := re.search(r"serving at: (http\S+)", log.read_text())):
        if process.poll() is not None:
            raise RuntimeError(f"the server did not start: {log.read_text()}")
        time.sleep(0.1)
    return process, found[1]


def lines(log: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def statuses(log: Path) -> Counter[int]:
    return Counter(int(str(line["status"])) for line in lines(log) if line["event"] == "request")


def not_asked(schema: dict[str, Any], log: Path) -> list[str]:
    """Operations of the schema that no request of the log had."""
    asked = {(str(line["method"]), str(line["path"])) for line in lines(log) if line["event"] == "request"}
    missing = []
    for path, operations in schema["paths"].items():
        pattern = re.compile(re.sub(r"\\\{[^}]*\}", ".*", re.escape(path)), re.DOTALL)
        for method in operations:
            if not any(verb == method.upper() and pattern.fullmatch(each) for verb, each in asked):
                missing.append(f"{method.upper()} {path}")
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--folder", type=Path, default=Path("build/schemathesis"))
    options = parser.parse_args()
    command = install(options.folder / "env")
    log, catalog = options.folder / "server.log", options.folder / "catalog.lance"
    shutil.rmtree(catalog, ignore_errors=True)
    shutil.copytree(options.demo / "catalog.lance", catalog)  # requests may change it
    process, url = start(options.demo, catalog, log)
    failed = []
    try:
        with urllib.request.urlopen(f"{url}openapi.json", timeout=60) as answer:
            schema = json.load(answer)
        seed = 0
        while sum(statuses(log).values()) < options.requests:
            seed += 1
            words = ["--checks", "not_a_server_error", "--max-examples", str(min(PER_RUN, options.requests))]
            words += ["--mode", "negative", "--phases", "coverage,fuzzing", "--seed", str(seed), "--no-color"]
            words += ["--generation-database", "none", "--suppress-health-check", "all", "--warnings", "off"]
            run = subprocess.run(
                [str(command.absolute()), "run", f"{url}openapi.json", *words],
                capture_output=True,
                text=True,
                cwd=options.folder,  # it keeps notes there
            )
            if run.returncode:
                failed.append(run.stdout[-3000:])
                break
        body = json.dumps({"prompt": "a dot", "steps": 1}).encode()
        asked = urllib.request.Request(
            f"{url}v1/images/generations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            failed += [] if json.load(answer)["data"] else ["nothing drawn at the end"]
    finally:
        process.terminate()
        process.wait(60)
    counts = statuses(log)
    print(f"{sum(counts.values()):,} requests; answers: {dict(sorted(counts.items()))}")
    failed += [f"{counts[status]} x {status}" for status in counts if status >= 500]
    failed += [f"never asked: {operation}" for operation in not_asked(schema, log)]
    failed += ["a traceback in the log"] if any("traceback" in line for line in lines(log)) else []
    failed += [f"exit code {process.returncode}"] if process.returncode else []
    print("; ".join(failed) or "no answer was a server error")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
