"""Other systems than Linux: the package can be imported, its pure parts work, and what can't work says so in a line.

The system is a patched one: what it lacks is taken away, in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LACKING = {
    "darwin": ((), ("memfd_create", "sched_getaffinity"), ()),
    "win32": (
        ("fcntl", "resource", "termios", "pwd", "grp"),
        (
            "memfd_create",
            "sched_getaffinity",
            "sysconf",
            "wait4",
            "fork",
            "O_NONBLOCK",
            "O_CLOEXEC",
            "getuid",
        ),
        ("SIGALRM", "SIGKILL", "setitimer", "pthread_sigmask", "SIG_UNBLOCK", "ITIMER_REAL"),
    ),
}
"""System -> modules, names of `os` and names of `signal` that it lacks."""
IMPORT = ("catalog", "import", "folder", "scans", "--metadata", "scans.csv", "--catalog", "my.lance")
# The packages of others are loaded before: what they do on other systems is tested by them.
PATCH = """
import importlib, os, pkgutil, signal, sys, types
modules, of_os, of_signal = {lacking!r}

def imported():
    import commoncanvas
    for module in pkgutil.walk_packages(commoncanvas.__path__, "commoncanvas."):
        if module.name != "commoncanvas.__main__":
            importlib.import_module(module.name)
            yield module.name

if {whole!r}:
    first = list(imported())
else:
    import commoncanvas.cli, commoncanvas.catalog.importing.command, commoncanvas.catalog.show, commoncanvas.config
    import commoncanvas.catalog.fetching.command, commoncanvas.catalog.stats, commoncanvas.catalog.export.command
    import commoncanvas.demonstration.command, commoncanvas.catalog.importing.sources.folder, multiprocessing.connection
    import rich.console, rich.live, rich.progress, rich.table
for name in [name for name in sys.modules if name.partition(".")[0] == "commoncanvas"]:
    del sys.modules[name]
sys.platform = {system!r}
sys.modules.update({{name: None for name in modules}})
for name in of_os:
    delattr(os, name)
for name in of_signal:
    delattr(signal, name)
if sys.platform == "win32":
    sys.modules["msvcrt"] = msvcrt = types.ModuleType("msvcrt")
    msvcrt.LK_NBLCK, msvcrt.locking = 2, lambda file, mode, size: None
"""
CHILDREN = """
import commoncanvas.images.decoders as decoders
linux = "import commoncanvas.images.tasks, imagehash, sysconfig; sysconfig.get_config_vars()"
decoders._MAIN = decoders._MAIN.replace("; from", f"; {linux}; sys.platform = 'darwin'; from", 1)
"""
"""The decoding processes are on that system too."""
COMMANDS = """
from commoncanvas.cli import main
sys.argv[0] = "commoncanvas"
main()
"""


def patched(
    system: str, code: str, *words: str, folder: Path, whole: bool = False
) -> subprocess.CompletedProcess[str]:
    start = PATCH.format(lacking=LACKING[system], system=system, whole=whole)
    return subprocess.run(
        [sys.executable, "-c", start + code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
    )


def command(system: str, folder: Path, *words: str) -> str:
    ran = patched(system, COMMANDS, *words, folder=folder)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "scans").mkdir()
    for number in range(2):
        Image.new("RGB", (64, 48), (90 * number, 0, 0)).save(tmp_path / f"scans/{number}.png")
    rows = [f"{number}.png,CC BY 4.0,Ada,scan {number}" for number in range(2)]
    (tmp_path / "scans.csv").write_text("\n".join(["file,license,creator,title", *rows]))
    command_words = (
        "catalog",
        "import",
        "folder",
        "scans",
        "--metadata",
        "scans.csv",
        "--catalog",
        "my.lance",
    )
    (tmp_path / "words").write_text(" ".join(command_words))
    return tmp_path


@pytest.mark.parametrize("system", LACKING)
def test_every_module_can_be_imported(system: str, tmp_path: Path) -> None:
    ran = patched(system, "assert list(imported()) == first; print(len(first))", folder=tmp_path, whole=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 250


@pytest.mark.parametrize("system", LACKING)
def test_what_needs_no_limited_processes_works(system: str, scans: Path) -> None:
    assert "generate" in command(system, scans, "--help")
    assert "2 new" in command(system, scans, *IMPORT)
    assert "Ada" in command(system, scans, "catalog", "credits", "--catalog", "my.lance")
    assert "CC-BY-4.0" in command(system, scans, "catalog", "stats", "--catalog", "my.lance")
    pure = """
from commoncanvas import licenses, load_recipe
from commoncanvas.core.files import only_one, replace_text, sync
from commoncanvas.core.memory import peak_bytes
from pathlib import Path
assert load_recipe("xs", train={"steps": 3}).train.steps == 3
assert str(licenses.parse("CC BY-SA 4.0")) == "CC-BY-SA-4.0"
with only_one(Path("run")):
    replace_text(Path("run/a"), "a")
sync(Path("run"))
assert (peak_bytes() == 0) == (sys.platform == "win32")
"""
    ran = patched(system, pure, folder=scans)
    assert ran.returncode == 0, ran.stderr


def test_on_windows_a_fetch_and_the_demo_say_what_they_need(scans: Path) -> None:
    command("win32", scans, *IMPORT)
    for words in (("catalog", "fetch", "--catalog", "my.lance"), ("demo",)):
        ran = patched("win32", COMMANDS, *words, folder=scans)
        assert ran.returncode == 2
        assert "needs Linux or macOS; on Windows, run it in WSL" in ran.stderr
        assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
    assert not (scans / "demo").exists()


def test_on_macos_a_fetch_works_and_says_that_memory_is_not_limited(scans: Path) -> None:
    command("darwin", scans, *IMPORT)
    ran = patched("darwin", CHILDREN + COMMANDS, "catalog", "fetch", "--catalog", "my.lance", folder=scans)
    assert ran.returncode == 0, ran.stderr
    assert "ok" in ran.stdout
    assert ran.stderr.count("does not limit the memory") == 1
