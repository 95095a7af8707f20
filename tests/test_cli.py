import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from commoncanvas.catalog import Catalog
from commoncanvas.cli import app, main
from commoncanvas.cli.shared import importing


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "commoncanvas", *words], capture_output=True, text=True, cwd=cwd
    )


HELP = """
import sys
from commoncanvas.cli import main
sys.argv = ["commoncanvas", "--help"]
try:
    main()
finally:
    print(sorted({"torch", "lance", "diffusers", "pyvips", "numpy"} & sys.modules.keys()))
"""


def test_help_comes_without_the_heavy_packages() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "catalog" in done.stdout


def test_help_takes_under_a_second() -> None:
    def seconds() -> float:
        began = time.perf_counter()
        run("--help")
        return time.perf_counter() - began

    # The fastest of a few: the machine may be busy with other tests.
    assert min(seconds() for _ in range(5)) < 1


def test_libraries_are_imported_without_the_garbage_collector() -> None:
    before = gc.get_freeze_count()
    try:
        with pytest.raises(ModuleNotFoundError), importing():
            assert not gc.isenabled()
            raise ModuleNotFoundError
        assert gc.isenabled() and gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "train"),
        (["train", "own/none.yaml"], "does not exist"),
        (["train", "xs", "--train.stepz", "4"], "did you mean train.steps"),
        (["catalog", "stats", "--catalog", "nowhere.lance"], "nowhere.lance"),
        (["catalog", "stats"], "--catalog"),
        (["catalog", "fetch", "--catalog", "c", "--max-bytes", "9"], "--max-bytes"),
        (["catalog", "fetch", "--catalog", "c", "--size", "0"], "size 0 is not one of: 1 to 65535"),
        (["catalog", "import", "huggingface", "x", "--catalog", "c", "--column", "image"], "--column image"),
        (
            [
                "catalog",
                "import",
                "folder",
                "--catalog",
                "c",
                "--column",
                "license=a",
                "--column",
                "license=b",
            ],
            "--column license= is given twice",
        ),
        (["catalog", "import", "flickr", "--catalog", "a.lance"], "flickr"),
        (
            ["catalog", "fetch", "--catalog", "nowhere.lance", "--retry", "sometimes"],
            "no fetch status sometimes",
        ),
        (["catalog", "fetch", "--catalog", "nowhere.lance", "--workers", "0"], "workers 0"),
        (["catalog", "takedown", "--catalog", "nowhere.lance", "--id", "a:1"], "--reason"),
        (["catalog", "export", "parquet", "--catalog", "nowhere.lance", "--out", "o"], "nowhere.lance"),
        (["catalog", "export", "zip", "--catalog", "nowhere.lance", "--out", "o"], "zip"),
        (
            ["catalog", "takedown", "--catalog", "nowhere.lance", "--id", "a:1", "--reason", "r"],
            "nowhere.lance",
        ),
        (["caption", "--catalog", "nowhere.lance", "--captioner", "xs", "--model", "none"], "nowhere.lance"),
        (["encode", "xs", "--data.catalog", "nowhere.lance"], "nowhere.lance"),
        (["train", "xs", "--data.catalog", "nowhere.lance", "--out", "m"], "nowhere.lance"),
        (["evaluate", "nowhere"], "nowhere"),
        (["generate", "nowhere", "a red apple"], "nowhere"),
        (["demo", "--minutes", "0"], "--minutes"),
        (["demo", "--minutes", "nan"], "--minutes nan"),
        (["demo", "--minutes", "inf"], "--minutes inf"),
        (["demo", "--out", "a-file"], "a-file: file exists"),
        (["demo", "--out", "a-file/inside"], "a-file"),
        (["train", "xs", "--out", "."], "out: '.' is not the name of a folder"),
        (["train", "xs", "--out", ""], "out"),
        (["train", "xs", "--train.betas", "[2, 0.9]"], "train.betas.0: input should be less than 1"),
        (["train", "xs", "--train.learning_rate", ".nan"], "train.learning_rate"),
        (["train", "xs-captioner", "--heads", "5"], "width 192 is not a multiple of heads 5"),
        (["train", "xs-captioner", "--max_tokens", "2"], "max_tokens"),
        (["train", "xs-autoencoder", "--size", "4"], "colour_weight needs a size of at least 8"),
        (["encode", "a-catalog.yaml"], "data: field required"),
        (["generate", "nowhere", "a red apple", "--count", "0"], "count 0"),
    ],
)
def test_a_users_error_is_one_clear_line_and_exit_code_2(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a-file").write_text("in the way")
    (tmp_path / "a-catalog.yaml").write_text("task: captioner")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["commoncanvas", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    out, said = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert message in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_users_error_is_one_line_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = run("train", "xs", "--data.catalog", "nowhere.lance", "--out", "m", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run("--debug", "catalog", "stats", "--catalog", "nowhere.lance", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_figures_are_printed_as_json_for_scripts(shapes: Catalog) -> None:
    done = run("catalog", "stats", "--catalog", shapes.uri, "--json")
    assert json.loads(done.stdout)["rows"] == 24


def commands(group: App) -> Iterator[App]:
    """All commands, also those of groups."""
    for name in group:
        if not name.startswith("-"):
            yield group[name]
            yield from commands(group[name])


def test_every_option_has_help() -> None:
    named = [command for command in commands(app) if command.default_command]
    assert len(named) >= 20
    for command in named:
        for option in command.assemble_argument_collection(parse_docstring=True):
            assert option.parameter.help or not option.show, (command.name, option.names)
