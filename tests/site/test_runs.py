"""What the server tells of runs: their state and its reason, whatever their files are."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from commoncanvas.core.files import only_one
from commoncanvas.core.platforms import is_locked
from commoncanvas.pages.curves import SERIES
from commoncanvas.site.parts import Site
from commoncanvas.site.runs.found import runs_of
from commoncanvas.training.trainer import train
from tests.site.conftest import Open
from tests.site.runs import entry, lines, silent, write_run
from tests.training.tiny import recipe
from tests.web.browser import HOSTILE

HTML = {"accept": "text/html"}


def asked(url: str, path: str, **query: Any) -> Any:
    answer = httpx.get(f"{url}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def plain(text: str) -> str:
    """With spaces that may break."""
    return text.replace("\u00a0", " ")


def test_runs_are_found_where_they_were_given_and_when_they_begin(tmp_path: Path) -> None:
    first = write_run(tmp_path / "several" / "a")
    (tmp_path / "several" / "no run").mkdir()
    alone = write_run(tmp_path / "other" / "a")
    beside = write_run(tmp_path / "models" / "m-run")
    site = Site(runs=(tmp_path / "several", alone, first, tmp_path / "gone"), models=(tmp_path / "models/m",))
    assert runs_of(site) == {"a": first, "a (2)": alone, "m-run": beside}
    later = write_run(tmp_path / "several" / "b")
    assert runs_of(site)["b"] == later


@pytest.mark.parametrize(
    ("steps", "age", "state", "why"),
    [
        (range(10, 510, 10), 0, "running", "its last line is"),
        (range(10, 510, 10), 7200, "stopped", "no line for 2 h 00 min; lines came every 1.0 s"),
        (range(10, 1010, 10), 7200, "finished", "all steps are done"),
        ((), 0, "waiting", "no line yet"),
    ],
)
def test_a_state_has_its_reason(
    opened: Open, tmp_path: Path, steps: range, age: float, state: str, why: str
) -> None:
    silent(write_run(tmp_path / "a", steps), age)
    url = opened(Site(runs=(tmp_path,)))
    found = asked(url, "api/runs/a")
    assert (found["state"], found["steps"]) == (state, 1000) and why in plain(found["why"])
    assert asked(url, "api/runs") == {"runs": {"a": state}}
    left = (1000 - found["step"]) / 10 if state == "running" else None
    assert found["left_s"] == (pytest.approx(left) if left else None)
    page = httpx.get(f"{url}runs/a").text
    assert why in plain(page) and "train:" in page and "learning_rate: 0.001" in page


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_a_training_of_this_machine_is_known_by_its_lock(opened: Open, tmp_path: Path) -> None:
    run = silent(write_run(tmp_path / "a"))
    url = opened(Site(runs=(run,)))
    with only_one(run):
        assert asked(url, "api/runs/a")["why"].startswith("a process on this machine trains it")
    # Asking takes no lock, so it disturbs no training that begins.
    assert not is_locked(run / ".lock") and asked(url, "api/runs/a")["state"] == "stopped"


def test_speed_and_time_left_are_right_after_a_resume(opened: Open, tmp_path: Path) -> None:
    """The seconds of a line count from the start of its process."""
    run = write_run(tmp_path / "a", range(10, 210, 10))
    with (run / "log.jsonl").open("a") as file:
        file.write(lines(entry(step, seconds=(step - 200) / 10) for step in range(210, 410, 10)))
    assert asked(opened(Site(runs=(run,))), "api/runs/a")["steps_per_s"] == pytest.approx(10)


def test_samples_are_shown_by_step_and_by_prompt(opened: Open, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a")
    url = opened(Site(runs=(run,)))
    page = httpx.get(f"{url}runs/a").text
    assert "Step <strong>200" in page and "a red car" in page and "at all steps <a" not in page
    page = httpx.get(f"{url}runs/a", params={"step": 100, "prompt": 1}).text
    assert "Step <strong>100" in page and "<bdi>a red car</bdi> at all steps" in page
    content = httpx.get(f"{url}api/runs/a/samples/100?cell=1").content
    assert Image.open(BytesIO(content)).getpixel((72, 72)) == (0, 128, 0)
    whole = run / "samples" / "step-00000100.png"
    assert httpx.get(f"{url}api/runs/a/samples/100").content == whole.read_bytes()
    for path in ("samples/100?cell=2", "samples/101", "samples/100?cell=-1", "samples/x"):
        assert httpx.get(f"{url}api/runs/a/{path}").status_code in (400, 404)
    # A picture of another program, and one that is still being written.
    Image.new("RGB", (50, 50)).save(run / "samples" / "step-00000300.png")
    assert "The images of step 300" in httpx.get(f"{url}runs/a").text
    (run / "samples" / "step-00000400.png").write_bytes(whole.read_bytes()[:60])
    assert "no picture, or not yet" in httpx.get(f"{url}runs/a").text
    assert httpx.get(f"{url}api/runs/a/samples/300").status_code == 200
    assert httpx.get(f"{url}api/runs/a/samples/400").status_code == 404


def broken(run: Path, how: str) -> None:
    """Make files of a run such as nobody expects."""
    if how == "no files":
        for path in (run / "run.json", *(run / "samples").iterdir()):
            path.unlink()
        (run / "log.jsonl").write_text("")
    elif how == "folders":
        for name in ("run.json", "log.jsonl"):
            (run / name).unlink()
            (run / name).mkdir()
        (run / "run.json").rmdir()
        (run / "run.json").write_text("{}")
    elif how == "garbage":
        (run / "log.jsonl").write_bytes(
            b"\xff\xfe\x00" * 1000 + b"\n[1]\n{\n" + b'{"step": 5}\n' + b"[" * 9000
        )
        (run / "run.json").write_bytes(b"\x80{")
        (run / "samples" / "step-00000900.png").write_bytes(b"no picture")
    elif how == "odd records":
        (run / "run.json").write_text(json.dumps({"recipe": {"train": {"steps": "many"}, "x": None}}))
        (run / "log.jsonl").write_text(lines([{"step": 3, "loss": None, "seconds": "x"}, {"step": 9**15}]))
    elif how == "deep":
        (run / "run.json").write_text('{"recipe": {"a": ' + "[" * 700 + "]" * 700 + "}}")
    else:
        (run / "log.jsonl").unlink()


@pytest.mark.parametrize("how", ["no files", "folders", "garbage", "odd records", "deep", "no log"])
def test_broken_files_are_no_error_of_the_server(opened: Open, tmp_path: Path, how: str) -> None:
    run = write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    url = opened(Site(runs=(tmp_path,)))
    assert httpx.get(f"{url}runs/a").status_code == 200
    broken(run, how)
    for path in ("runs", "runs/a", "runs/b?with=a&with=nobody&prompt=x&step=%00", "api/runs", "api/runs/a"):
        assert httpx.get(f"{url}{path}", headers=HTML).status_code == 200, path


def test_hostile_names_prompts_and_lines_are_text(opened: Open, tmp_path: Path) -> None:
    names = [text.replace("/", "|").replace("\x00", "")[:60] for text in HOSTILE]
    for name in names:
        run = write_run(tmp_path / name, prompts=HOSTILE, name=HOSTILE[0], out="s3://me:secret@host/x")
        with (run / "log.jsonl").open("a") as file:
            file.write(lines([entry(600, **{HOSTILE[1]: 1.0, HOSTILE[4]: 2.0})]))
    url = opened(Site(runs=(tmp_path,)))
    pages = [httpx.get(f"{url}runs").text]
    pages += [
        httpx.get(f"{url}runs/{quote(name, safe='')}", params={"with": names, "prompt": 1}).text
        for name in names[:4]
    ]
    for page in pages:
        assert "<img src=x" not in page and "</script><script>" not in page
        assert "\u202e" not in page and "\x07" not in page and "secret" not in page
        assert "&lt;img src=x onerror" in page
    answer = httpx.get(f"{url}api/runs/{quote(names[4], safe='')}").text
    assert "\u202e" not in answer and "\\u0007" not in answer


def test_there_is_no_page_of_what_is_no_run(opened: Open, tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    (tmp_path / "secret").mkdir()
    url = opened(Site(runs=(tmp_path,)))
    for name in ("secret", "%2e%2e%2fsecret", "a%2f..%2fsecret", "a%2fsamples", "%00"):
        for path in (f"runs/{name}", f"api/runs/{name}", f"api/runs/{name}/samples/100"):
            assert httpx.get(f"{url}{path}").status_code in (400, 404), path
    assert httpx.get(f"{opened(Site())}runs").status_code == 404


def test_the_plots_have_the_colours_of_the_other_curves() -> None:
    import commoncanvas.site.runs as room

    css = (Path(room.__file__).parent / "static" / "runs.css").read_text(encoding="utf-8")
    for number, (_, light, dark) in enumerate(SERIES):
        assert f"--series-{number}: {light}" in css and f"--series-{number}: {dark}" in css


@pytest.mark.slow
def test_a_training_is_followed_from_its_first_line_to_its_model(
    opened: Open, drawn_and_encoded: Path, tmp_path: Path
) -> None:
    shutil.copytree(drawn_and_encoded, tmp_path, dirs_exist_ok=True)
    made = recipe("xs", tmp_path)
    every = {"steps": 12, "log_every": 1, "sample_every": 6}
    made = made.model_copy(update={"train": made.train.model_copy(update=every)})
    url = opened(Site(runs=(tmp_path,)))
    name = Path(f"{made.out}-run").name
    ended, states, codes = threading.Event(), set(), set()

    def follow() -> None:
        while not ended.wait(0.05):
            answer = httpx.get(f"{url}api/runs/{name}")
            codes.update((answer.status_code, httpx.get(f"{url}runs/{name}", headers=HTML).status_code))
            states.update([answer.json()["state"]] if answer.status_code == 200 else [])

    with ThreadPoolExecutor() as pool:
        following = pool.submit(follow)
        train(made)
        ended.set()
        following.result()
    assert codes <= {200, 404} and "running" in states
    last = asked(url, f"api/runs/{name}")
    assert (last["state"], last["step"]) == ("finished", 12) and "its model is in the folder" in last["why"]
    assert "at all steps" in httpx.get(f"{url}runs/{name}", params={"prompt": 0}).text
