"""The wheel and the sources hold what the package needs, and the wheel works where there is no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from commoncanvas.cli import app
from tests.docs.test_reference import all_commands

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PACKAGE = "src/commoncanvas"
BUILT_FROM = (
    "LICENSE",
    "NOTICE",
    "README.md",
    "PACKAGE.md",
    "CHANGELOG.md",
    "MANIFEST.in",
    "constraints.txt",
)
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, f"build_{sys.argv[1]}")(sys.argv[2]))
"""
RECIPES = sorted(path.stem for path in (ROOT / PACKAGE / "recipes").glob("*.yaml"))


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def build(kind: str, source: Path, out: Path) -> Path:
    """Build as `python -m build --no-isolation` does, without a network."""
    ran = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(out)], cwd=source, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return out / ran.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / PACKAGE, source / PACKAGE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (*BUILT_FROM, "pyproject.toml"):
        shutil.copy(ROOT / name, source / name)
    return build("sdist", source, source)


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sources in the sdist, as a package index's users may do."""
    unpacked = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as tar:
        tar.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    return build("wheel", source, unpacked)


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, as pip would unpack them."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_every_file_of_the_package_is_in_the_wheel_and_in_the_sources(site: Path, sdist: Path) -> None:
    wanted = files_of(ROOT / PACKAGE)
    assert len([name for name in wanted if not name.endswith(".py")]) > 25
    assert files_of(site / "commoncanvas") == wanted
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {f"{PACKAGE}/{name}" for name in wanted} | set(BUILT_FROM) <= names
    assert not [name for name in names if name.startswith("tests")]


def test_the_page_of_the_package_needs_no_repository(site: Path) -> None:
    (metadata,) = site.glob("*.dist-info/METADATA")
    text = metadata.read_text(encoding="utf-8")
    assert (
        "License-Expression: Apache-2.0 AND CC-BY-SA-4.0" in text
        and "Requires-Dist: commoncanvas[c2pa,train]; extra" in text
    )
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links and all(link.startswith("https://") for link in links)
    assert not re.search(r"\bmake \w+|\bdocs/|recipes/|constraints\.txt", text)


def test_no_help_names_a_file_that_only_the_repository_has() -> None:
    texts = [command.default_command.__doc__ or "" for _, command in all_commands(app)]
    assert len(texts) > 20
    assert not [text for text in texts if re.search(r"\bmake \w+:|\bdocs/|\brecipes/|\bbenchmarks/", text)]


def test_the_wheel_works_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: str) -> str:
        ran = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert ran.returncode == 0, (words, ran.stderr)
        return ran.stdout

    def commoncanvas(line: str) -> str:
        return run("-m", "commoncanvas", *line.split())

    assert run("-c", "import commoncanvas; print(commoncanvas.__file__)").startswith(str(site))
    loaded = "import sys; from commoncanvas import load_recipe; print(*[load_recipe(n).name for n in sys.argv[1:]])"
    assert run("-c", loaded, *RECIPES).split() == RECIPES
    (tmp_path / "ours.yaml").write_text("base: s-c\nname: ours\n")
    assert run("-c", loaded, "ours.yaml").split() == ["ours"]
    (tmp_path / "scans").mkdir()
    for number in range(12):
        Image.new("RGB", (64, 64), (20 * number, 0, 0)).save(tmp_path / f"scans/{number}.png")
    rows = [f"{number}.png,CC BY 4.0,Ada,scan {number}" for number in range(12)]
    (tmp_path / "scans.csv").write_text("\n".join(["file,license,creator,title", *rows]))
    commoncanvas("catalog import folder scans --metadata scans.csv --catalog my.lance --label-column title")
    commoncanvas("catalog fetch --catalog my.lance")
    commoncanvas("catalog stats --catalog my.lance --html stats.html")
    commoncanvas("catalog import openmoji --catalog drawings.lance")
    assert "ours2.yaml" in commoncanvas("init xs ours2.yaml --catalog my.lance")
    assert "images/s" in commoncanvas("plan s-c s-c-512 --images 70e6 --gpus 128 --device a100")
    assert "images/s" in commoncanvas("plan xs --images 1e6 --device a100"), (
        "its autoencoder isn't trained yet"
    )
    assert "Ada" in (tmp_path / "stats.html").read_text(encoding="utf-8")
    commoncanvas("generate xs heart --out drawn")
    assert Image.open(tmp_path / "drawn/heart-0.png").size == (64, 64)


def test_a_missing_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    without = "import sys; sys.modules['torch'] = None; sys.argv[0] = 'commoncanvas'\n"
    for code, words in (
        ("from commoncanvas.cli import main; main()", ("plan", "s-c", "--device", "a100")),
        ("import commoncanvas; commoncanvas.train", ()),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", without + code, *words], cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == (2 if words else 1)
        assert ran.stderr.splitlines()[-1].endswith(
            "torch is not installed; pip install 'commoncanvas[train]'"
        )
        assert not words or len(ran.stderr.splitlines()) == 1
