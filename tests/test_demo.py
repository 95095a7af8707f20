import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from commoncanvas import cli
from commoncanvas.captioning import caption
from commoncanvas.catalog import Catalog
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.files import only_one
from commoncanvas.demonstration.command import State, commands
from commoncanvas.demonstration.report import write_demo_report
from commoncanvas.encoding.command import encode
from commoncanvas.evaluation import evaluate
from commoncanvas.training.trainer import train
from tests.conftest import add_shapes
from tests.memorisation.conftest import add_strangers
from tests.training.test_trainer import same_bits
from tests.training.tiny import recipe


def test_the_demo_is_commands_that_anyone_can_type() -> None:
    todo = commands(Path("demo"), 10)
    assert [command.name for command in todo][0::8] == ["import", "evaluate"]
    assert todo[-1].name == "compare"
    for command in todo:
        function, bound, _ = cli.app.parse_args(
            [*command.words, "--json"], exit_on_error=False, print_error=False
        )
        assert callable(function)
        assert bound.arguments["json_"] is True


def test_more_minutes_are_more_steps_in_proportion() -> None:
    def steps(minutes: float) -> list[int]:
        return [
            int(command.words[command.words.index("--train.steps") + 1])
            for command in commands(Path("demo"), minutes)
            if command.words[0] == "train"
        ]

    assert all(abs(double - 2 * single) <= 1 for single, double in zip(steps(5), steps(10), strict=True))


def test_more_minutes_widen_what_the_models_learn() -> None:
    def filters(minutes: float) -> dict[str, str | None]:
        found = {}
        for command in commands(Path("demo"), minutes):
            words = list(command.words)
            found[command.name] = (
                words[words.index("--data.filter") + 1] if "--data.filter" in words else None
            )
        return found

    things = load_recipe("xs-captioner").data.catalogs["main"].filter
    own = load_recipe("xs-curriculum").data.catalogs["main"].filter
    text = "(label IS NOT NULL OR caption IS NOT NULL)"
    for minutes, wanted in ((10, f"({own}) AND {text}"), (30, f"({things}) AND {text}"), (60, text)):
        assert filters(minutes).pop("human states") == filters(minutes).pop("human model") == wanted
    assert {words for name, words in filters(10).items() if "human" not in name} == {None}
    assert filters(30)["model"] == filters(30)["autoencoder"] == filters(30)["latents"] == things
    assert filters(30)["captioner"] is None  # its own is that already
    whole = filters(60)
    assert {name for name, words in whole.items() if words == "null"} == {
        "features",
        "captioner",
        "autoencoder",
        "latents",
        "model",
    }
    (captions,) = (command for command in commands(Path("demo"), 60) if command.name == "caption")
    assert captions.words[-1] == "label IS NULL"


def test_seconds_of_a_try_that_was_killed_count(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    stage = {"seconds": 2.0, "peak_mb": 1.0, "done": False, "result": None}
    record = {
        "minutes": 1,
        "finished": False,
        "running": {"stage": "fetch", "since": 1000.0},
        "stages": {"fetch": stage},
    }
    path.write_text(json.dumps(record))
    os.utime(path, (1030, 1030))  # its last heartbeat
    assert State(path, 1).stages()[0]["seconds"] == 32.0


@pytest.mark.parametrize("content", ["", "[]", "{}", "3"])
def test_a_record_that_is_not_the_demos_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "stages.json").write_text(content)
    with pytest.raises(CommonCanvasError, match="is not the record of a demo"):
        State(tmp_path / "stages.json", 1)


STAGES = """
import json, sys
from pathlib import Path
from commoncanvas.demonstration.command import run_command
from commoncanvas.core.files import only_one

with only_one(Path(sys.argv[1])) as lock:
    for name in ("catalog.lance", "none"):
        print(json.dumps(run_command(["catalog", "stats", "--catalog", f"{sys.argv[1]}/{name}"], lock)))
"""


def test_a_stage_reports_its_figures_its_code_and_its_peak_memory(tmp_path: Path) -> None:
    add_shapes(tmp_path / "catalog.lance")
    # In a process of its own, as a demo is: a stage's peak counts what starts it too, and the tests' process may be
    # of any size.
    ran = subprocess.run([sys.executable, "-c", STAGES, str(tmp_path)], stdout=subprocess.PIPE, check=True)
    (code, output, peak_mb), missing = map(json.loads, ran.stdout.splitlines())
    assert (code, json.loads(output)["rows"]) == (0, 24)
    assert 20 < peak_mb < 2000
    assert missing[0] == 2


@pytest.mark.slow
def test_the_report_is_made_of_what_the_stages_leave(captioner: Path, drawn_and_trained: Path) -> None:
    folder = captioner.parent
    for name in ("xs-autoencoder", "xs-autoencoder-run"):
        shutil.copytree(drawn_and_trained / name, folder / name)
    captioned = caption(folder / "catalog.lance", captioner)
    encode(recipe("xs", folder))
    model = train(recipe("xs", folder, "--out", str(folder / "model")))
    evaluate(str(model), samples=4, steps=1, captioner=str(captioner), device="cpu")
    of_people = ("--data.text", "{title: 1}", "--out", str(folder / "human-text"))
    encode(recipe("xs", folder, *of_people))
    human = train(recipe("xs", folder, *of_people))
    evaluate(str(human), samples=4, steps=1, device="cpu")
    results = {command.name: {} for command in commands(folder, 10)} | {"caption": captioned.to_dict()}
    stages = [
        {"name": name, "seconds": 1.5, "peak_mb": 100.0, "result": result} for name, result in results.items()
    ]
    add_strangers(folder / "catalog.lance")
    summary = write_demo_report(folder, stages)
    assert json.loads((folder / "summary.json").read_text()) == summary
    assert [stage["name"] for stage in summary["stages"]] == [*results, "report"]
    assert (summary["images"], summary["creators"]) == (24, {f"painter {number}": 8 for number in range(3)})
    assert summary["caption_cosine"] == captioned.caption_cosine
    assert summary["human_text"]["images"] == summary["training"]["images"] > 0
    assert summary["human_text"]["fd"] > 0
    with (folder / "credits.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 24
    page = (folder / "report.html").read_text()
    assert "painter 0" in page and "names alone" in page
    assert "Nearest training images" in page and "not that one was made from the other" in page


def test_a_second_demo_in_one_folder_is_refused(tmp_path: Path) -> None:
    with (
        only_one(tmp_path),
        pytest.raises(CommonCanvasError, match="in use"),
        only_one(tmp_path),
    ):
        pass


def test_going_on_with_other_minutes_is_refused(tmp_path: Path) -> None:
    State(tmp_path / "stages.json", 1).finish()
    assert State(tmp_path / "stages.json", 1).finished
    with pytest.raises(CommonCanvasError, match="--minutes 1, not 2"):
        State(tmp_path / "stages.json", 2)


MINUTES = "0.1"


def demo(out: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "commoncanvas", "demo", "--out", str(out), "--minutes", MINUTES]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def rows(out: Path) -> pa.Table:
    catalog = Catalog.open(out / "catalog.lance")
    return catalog.table(sorted(catalog.schema.names)).sort_by("image_id")


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_a_demo_killed_at_twenty_random_moments_ends_as_one_that_never_was(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    assert demo(whole).wait() == 0
    seconds = time.monotonic() - began
    chance = random.Random(os.environ.get("COMMONCANVAS_SEED", "7"))
    kills = 0
    while kills < 20:
        child = demo(killed)
        time.sleep(chance.uniform(0.5, seconds / 8))
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        kills += 1
        if (killed / "catalog.lance").exists() and any((killed / "catalog.lance").iterdir()):
            Catalog.open(killed / "catalog.lance").count()  # readable after every kill
    assert kills == 20
    print(f"killed {kills} times, an unkilled demo took {seconds:.0f} s")
    assert demo(killed).wait() == 0

    left, right = rows(whole), rows(killed)
    assert left.equals(right)
    for name in ("xs-captioner", "xs-autoencoder", "model", "human-text"):
        assert same_bits(whole / name, killed / name), name
    first, second = (json.loads((out / "summary.json").read_text()) for out in (whole, killed))
    for key in set(first) - {"stages", "seconds", "peak_mb"}:
        assert first[key] == second[key], key
    assert (whole / "credits.csv").read_bytes() == (killed / "credits.csv").read_bytes()
