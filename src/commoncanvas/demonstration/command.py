"""The demo: runs each stage's command in its own process, then writes the report. Run again, it continues."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from commoncanvas.config import MAIN, load_recipe
from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError, TrainingStopped
from commoncanvas.core.files import only_one, replace_text
from commoncanvas.core.memory import wait_for
from commoncanvas.core.platforms import die_with_parent, need_unix
from commoncanvas.demonstration.folders import HUMAN_TEXT, MODELS
from commoncanvas.engine import every

# With the recipes' steps, the demo takes about this long on two CPU cores. Steps grow in proportion to the minutes.
NOMINAL_MINUTES = 10.0
SIZE = 64
CAPTIONER, AUTOENCODER, DIFFUSION = "xs-captioner", "xs-autoencoder", "xs-curriculum"
# With more minutes, models learn from more images, because more steps on the same few images would only overfit. Below
# the first limit: the recipes' own choice (animals, food and vehicles); then things of every kind; then the whole set.
THINGS_MINUTES, WHOLE_SET_MINUTES = 30.0, 60.0
UNSURE = 0.25
"""Share of images that get no caption: a wrong one teaches the model a wrong word."""
HEARTBEAT_SECONDS = 1.0


@dataclass(frozen=True)
class Command:
    """One stage: its name, and the words after `commoncanvas`."""

    name: str
    words: tuple[str, ...]


def commands(out: Path, minutes: float) -> list[Command]:
    """The demo's commands, as a user could type them."""
    catalog = str(out / "catalog.lance")
    captioner, autoencoder, model = (str(out / name) for name in MODELS.values())
    human = str(out / HUMAN_TEXT)
    of_catalog = ("--data.catalog", catalog)
    things = str(load_recipe(CAPTIONER).data.catalogs[MAIN].filter)
    whole = ("--data.filter", "null") if minutes >= WHOLE_SET_MINUTES else ()
    wider = whole or (("--data.filter", things) if minutes >= THINGS_MINUTES else ())
    # Training mixes human labels and the model's captions: only rows of this kind without a label get a caption.
    unlabelled = "label IS NULL" if whole else f"label IS NULL AND {things}"
    of_model = ("--vae", autoencoder)
    chosen = f"({things})" if wider else f"({load_recipe(DIFFUSION).data.catalogs[MAIN].filter})"
    chosen = "" if whole else f"{chosen} AND "
    with_text = f"{chosen}(label IS NOT NULL OR caption IS NOT NULL)"
    of_people = ("--data.text", "{title: 1}", "--data.filter", with_text)

    def training(recipe: str, folder: str, *overrides: str) -> tuple[str, ...]:
        steps = max(1, round(load_recipe(recipe).train.steps * minutes / NOMINAL_MINUTES))
        of_run = ("--out", folder, "--train.steps", str(steps))
        return ("train", recipe, *of_catalog, *of_run, *overrides, "--resume")

    return [
        Command("import", ("catalog", "import", "openmoji", "--catalog", catalog)),
        Command("fetch", ("catalog", "fetch", "--catalog", catalog, "--size", str(SIZE), "--format", "png")),
        Command("features", ("encode", CAPTIONER, *of_catalog, *whole)),
        Command("captioner", training(CAPTIONER, captioner, *whole)),
        Command(
            "caption",
            (
                "caption",
                "--catalog",
                catalog,
                "--captioner",
                "xs",
                "--model",
                captioner,
                "--unsure",
                str(UNSURE),
                "--where",
                unlabelled,
            ),
        ),
        Command("autoencoder", training(AUTOENCODER, autoencoder, *wider)),
        Command("latents", ("encode", DIFFUSION, *of_catalog, *of_model, *wider)),
        Command("model", training(DIFFUSION, model, *of_model, *wider)),
        Command("evaluate", ("evaluate", model, "--captioner", captioner)),
        # The paper's question: what do captions by a model cost, against people's text for the same images?
        Command("human states", ("encode", DIFFUSION, *of_catalog, *of_model, *of_people)),
        Command("human model", training(DIFFUSION, human, *of_model, *of_people)),
        Command("compare", ("evaluate", human)),
    ]


def demo(out: str = "demo", *, minutes: float = NOMINAL_MINUTES) -> dict[str, Any]:
    """Make a model from OpenMoji's drawings and its report in `out`; returns the figures of summary.json.

    Finished stages are not repeated; a stage that was killed continues. Raises CommonCanvasError.
    """
    if not (math.isfinite(minutes) and minutes > 0):
        raise CommonCanvasError(f"--minutes {minutes}: give a number greater than 0")
    need_unix("the demo")
    folder = Path(out)
    summary = folder / "summary.json"
    with only_one(folder) as lock:
        state = State(folder / "stages.json", minutes)
        if state.finished and summary.exists():
            say(f"the demo in {out} is finished; remove that folder to run it again, or choose another --out")
            figures: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
            return figures
        todo = commands(folder, minutes)
        state.run_all(todo, len(todo) + 1, lock)
        say("", title=f"{len(todo) + 1}/{len(todo) + 1} report")
        from commoncanvas.demonstration.report import write_demo_report

        figures = write_demo_report(folder, state.stages())
        state.finish()
    return figures


class State:
    """The stages that are done, with output, time and peak memory of each. It is saved after every stage."""

    def __init__(self, path: Path, minutes: float) -> None:
        self.path = path
        self._record: dict[str, Any] = {"minutes": minutes, "finished": False, "running": None, "stages": {}}
        if not path.exists():
            return
        try:
            self._record = json.loads(path.read_text(encoding="utf-8"))
            before, stages, running = (self._record[name] for name in ("minutes", "stages", "running"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommonCanvasError(
                f"{path} is not the record of a demo; choose another --out, or remove {path.parent}"
            ) from error
        if before != minutes:
            raise CommonCanvasError(
                f"the demo in {path.parent} was started with --minutes {before:g}, not {minutes:g}; "
                "give the same minutes, or choose another --out"
            )
        if running:
            # The demo was killed during a stage. It ran until its last heartbeat.
            alive = max(0.0, path.stat().st_mtime - running["since"])
            stages[running["stage"]]["seconds"] = round(stages[running["stage"]]["seconds"] + alive, 2)

    @property
    def finished(self) -> bool:
        return bool(self._record["finished"])

    @property
    def done(self) -> set[str]:
        return {name for name, stage in self._record["stages"].items() if stage["done"]}

    def stages(self) -> list[dict[str, Any]]:
        """The stages in order: name, seconds (of all tries), peak_mb (resident), done and result (its output)."""
        return [{"name": name, **stage} for name, stage in self._record["stages"].items()]

    def run_all(self, todo: Sequence[Command], stages: int, lock: int) -> None:
        """Run the commands that are not done, of `stages` in all."""
        for number, command in enumerate(todo, start=1):
            if command.name not in self.done:
                say(f"commoncanvas {shlex.join(command.words)}", title=f"{number}/{stages} {command.name}")
                self.run(command, lock)

    def run(self, command: Command, lock: int) -> None:
        stage = self._record["stages"].setdefault(
            command.name, {"seconds": 0.0, "peak_mb": 0.0, "done": False, "result": None}
        )
        began = time.time()
        self._record["running"] = {"stage": command.name, "since": began}
        self._write()
        # If the demo is killed, the file's time says how long it ran.
        with every(HEARTBEAT_SECONDS, lambda: os.utime(self.path)):
            code, output, peak_mb = run_command(command.words, lock)
        stage["seconds"] = round(stage["seconds"] + time.time() - began, 2)
        stage["peak_mb"] = round(max(stage["peak_mb"], peak_mb), 1)
        stage["done"] = code == 0
        stage["result"] = json.loads(output) if code == 0 else None
        self._record["running"] = None
        self._write()
        if code > 128:
            number = signal.Signals(code - 128)
            raise TrainingStopped(
                f"stopped by {number.name} in stage {command.name}; run the same command to continue", number
            )
        if code:
            raise CommonCanvasError(
                f"stage {command.name} failed (see above); run the same command to try again"
            )

    def finish(self) -> None:
        self._record["finished"] = True
        self._write()

    def _write(self) -> None:
        replace_text(self.path, json.dumps(self._record, indent=1))


def run_command(words: Sequence[str], lock: int) -> tuple[int, str, float]:
    """Run `commoncanvas WORDS --json`; returns its exit code (128 + n for signal n), its stdout and its peak MB.

    The child gets the signals that ask to stop, and saves its state. It dies with its parent.
    """

    def forward(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    with warnings.catch_warnings():
        # Lance warns of a fork. The child becomes another program at once.
        warnings.filterwarnings("ignore", "lance is not fork-safe")
        child = subprocess.Popen(
            [sys.executable, "-m", "commoncanvas", *words, "--json"],
            stdout=subprocess.PIPE,
            pass_fds=(lock,),
            preexec_fn=die_with_parent,
        )
    # Ctrl-C reaches the child directly: both are in the terminal's foreground group.
    previous = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, forward)]
    try:
        assert child.stdout is not None
        output = child.stdout.read().decode()
        code, peak = wait_for(child.pid)
    finally:
        signal.signal(signal.SIGINT, previous[0])
        signal.signal(signal.SIGTERM, previous[1])
    return (code if code >= 0 else 128 - code), output, peak / 1e6
