"""Each command of the guides and of README is run, in the order of its page, on small data; or it is parsed, and
there is a reason why it is not run."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from commoncanvas.arena.reading import read_votes
from commoncanvas.cli import app
from commoncanvas.config import load_recipe
from commoncanvas.config.data import SHORT
from commoncanvas.release.about_file import load_about
from commoncanvas.training.trainer import train
from tests.captioning.test_report import clip as clip  # a fixture
from tests.catalog.fetching.server import RawServer
from tests.docs import guides
from tests.docs.guides import BLOCK, ROOT, Guide, columns, commands, recipes, run, words_of
from tests.docs.test_reference import all_commands
from tests.docs.test_reference import fill as fill  # a fixture
from tests.memorisation.conftest import learned as learned  # a fixture
from tests.training.tiny import recipe

TWO_STEPS = "--train.steps 2"
SHORT_TEXTS = "--text_length 16"
WEIGHTS = "it trains 865,910,724 weights, which takes a GPU"
CLUSTER = "needs a Ray cluster; tests/engine/test_ray.py has one"

OTHERS = {"--standalone", "--nproc-per-node", "--max-restarts", "--require-hashes", "--all", "--only"}
"""Options of torchrun, pip and benchmarks/objectives.py."""
SMALL = {
    "commoncanvas train ours-autoencoder.yaml": TWO_STEPS,
    "commoncanvas train ours.yaml": TWO_STEPS,
    "commoncanvas encode ours-s.yaml": SHORT_TEXTS,
    "commoncanvas encode s-c": SHORT_TEXTS,
    "commoncanvas evaluate": "--samples 4 --steps 2",
    "commoncanvas generate": "--steps 2",
    "commoncanvas catalog fetch --catalog cc.lance": "--allow-private",
}
GUIDES = {
    "docs/guide/catalog.md": Guide(guides.scans),
    "docs/guide/own-images.md": Guide(guides.own, SMALL, {"commoncanvas train ours-s.yaml": WEIGHTS}),
    "docs/guide/encoding.md": Guide(
        guides.captioned,
        SMALL,
        {
            "commoncanvas caption --catalog cc.lance --captioner openai": "tests/captioning/test_openai.py has a server"
        },
    ),
    "docs/guide/memorisation.md": Guide(
        guides.photo_file, {"commoncanvas memorisation": "--prompts 4 --steps 2"}
    ),
    "docs/guide/plan.md": Guide(),
    "docs/guide/arena.md": Guide(
        guides.questions,
        {"commoncanvas arena build": "--steps 1"},
        {
            "commoncanvas arena serve": "tests/arena/test_server.py starts servers",
            "commoncanvas arena forget": "nobody voted; tests/arena/test_ballots.py has raters",
        },
    ),
    "docs/guide/arena-statistics.md": Guide(guides.arena),
    "docs/guide/metrics.md": Guide(
        guides.image_folders,
        parsed={
            "commoncanvas compare drawn photos --features": "tests/evaluation has networks with random weights",
            "commoncanvas compare drawn statistics/": "tests/evaluation has such files",
            "commoncanvas evaluate runs/ours --features": "tests/evaluation has such a model",
        },
    ),
    "docs/guide/evaluate.md": Guide(
        parsed={"commoncanvas evaluate": "two trained models; tests/evaluation/test_sweep.py has small ones"}
    ),
    "docs/guide/models.md": Guide(guides.prompts, {"commoncanvas generate": "--steps 1"}),
    "docs/guide/benchmarks.md": Guide(
        guides.benchmarks,
        {"commoncanvas evaluate": "--steps 1"},
        {"commoncanvas evaluate demo/model --suite drawbench": "ViT-H-14; tests/evaluation has a small one"},
    ),
    "docs/guide/serve.md": Guide(
        parsed={"commoncanvas serve": "it ends by a signal; tests/serving has a server"}
    ),
    "docs/guide/pages.md": Guide(
        parsed={
            "commoncanvas serve": "it ends by a signal; tests/site has servers",
            "commoncanvas catalog": "the guide of the catalog runs them, and tests/catalog/test_requests.py",
        }
    ),
    "docs/guide/release.md": Guide(
        guides.museum,
        {"commoncanvas generate": "--steps 1"},
        {"commoncanvas release model runs/s-c": "tests/release/test_push.py has a hub"},
    ),
    "docs/guide/training.md": Guide(
        parsed={
            "commoncanvas train s-c": WEIGHTS,
            "commoncanvas train my.yaml --resume": "your own recipe; own-images.md trains one",
        }
    ),
    "docs/guide/scale.md": Guide(
        parsed={
            "commoncanvas train s-c": WEIGHTS,
            "commoncanvas catalog fetch --catalog cc.lance --size 1024 --engine ray": CLUSTER,
            "commoncanvas catalog curate --catalog cc.lance --min-sharpness 100": CLUSTER,
            "commoncanvas encode recipe.yaml --engine ray": CLUSTER,
        }
    ),
    "README.md": Guide(
        guides.own,
        SMALL,
        {
            "commoncanvas train s-c": WEIGHTS,
            "commoncanvas serve": "it ends by a signal; tests/site has servers",
            "commoncanvas study scarcity xs": "five trainings of the demo; tests/studies has small ones",
        },
    ),
}


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def run_page(page: str, folder: Path) -> list[str]:
    """Run what can be run in `folder`; returns the commands."""
    guide = GUIDES[page]
    guide.make(folder)
    for name, text in recipes(text_of(page)).items():
        (folder / name).write_text(text, encoding="utf-8")
    done = []
    for command in commands(ROOT / page):
        if guide.of(guide.parsed, command) is None:
            print(f"$ {command}")
            run([*words_of(command), *shlex.split(guide.of(guide.more, command) or "")])
            done.append(command)
    return done


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_guide_is_run_or_says_why_not() -> None:
    with_commands = {
        page.relative_to(ROOT).as_posix()
        for page in [ROOT / "README.md", *(ROOT / "docs/guide").glob("*.md")]
        if commands(page)
    }
    assert set(GUIDES) == with_commands
    for page, guide in GUIDES.items():
        lines = [" ".join(line.split()) for line in commands(ROOT / page)]
        for start in guide.parsed:
            assert any(line.startswith(start) for line in lines), f"{page} has no command {start}"


@pytest.mark.parametrize(("page", "line"), [(page.name, line) for page in PAGES for line in commands(page)])
def test_commands_are_commands_with_these_options(page: str, line: str) -> None:
    command, bound, _ = app.parse_args(words_of(line), print_error=False, exit_on_error=False)
    assert callable(command) and command is not app.help_print, bound


def test_options_that_texts_name_are_options_of_some_command(fill: ModuleType) -> None:
    found = [
        argument for _, command in all_commands(app) for argument in command.assemble_argument_collection()
    ]
    options = {name for argument in found for name in argument.names}
    options |= {f"--{field.path}" for _, _, fields in fill.recipe_sections() for field in fields}
    options |= {"--help", "--debug", *(f"--data.{name}" for name in SHORT), *OTHERS}
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]
        own = [span for span in spans if not span.startswith(("benchmarks/", "python benchmarks/"))]
        named = {name for span in own for name in re.findall(r"(?<![\w-])--[a-z][\w.-]*", span)}
        named = {re.sub(r"^--data\.catalogs\.\w+\.", "--data.catalogs.NAME.", name) for name in named}
        assert named <= options, (page.name, named - options)


def test_the_guide_to_the_catalog(folder: Path, fill: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    done = run_page("docs/guide/catalog.md", folder)
    said = capsys.readouterr().out
    assert len(done) == 15
    assert "a red circle" in said and "3 rows taken down" in said
    assert "to be filled in" not in (folder / "my-data/LICENSE").read_text()
    assert {"stats.html", "failed.html", "credits.html", "released", "my-data-2"} <= {
        path.name for path in folder.iterdir()
    }
    on_the_page(fill, columns(folder / "my.lance"))


@pytest.mark.slow
def test_the_guide_to_own_images(folder: Path, fill: ModuleType) -> None:
    run_page("docs/guide/own-images.md", folder)
    assert (folder / "runs/ours/provenance.json").is_file() and (folder / "ours.html").is_file()
    on_the_page(fill, columns(folder / "my.lance"))


@pytest.mark.slow
def test_the_guide_to_captions_and_encoding(folder: Path, clip: Path, fill: ModuleType) -> None:
    (folder / "path/to").mkdir(parents=True)
    (folder / "path/to/clip").symlink_to(clip)
    run_page("docs/guide/encoding.md", folder)
    assert (folder / "captions.html").is_file()
    on_the_page(fill, columns(folder / "cc.lance"))


@pytest.mark.slow
def test_the_guide_to_the_arena(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "demo").mkdir(exist_ok=True)
    (folder / "demo/catalog.lance").symlink_to(model.parent / "catalog.lance")
    for name in ("demo/model", "runs/ours", "runs/theirs"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(model)
    run_page("docs/guide/arena.md", folder)
    assert len(list((folder / "arena/images").glob("*.png"))) == 6
    assert read_votes("guidance") == [] and "images of guided" in capsys.readouterr().out


@pytest.mark.slow
def test_the_guide_to_models(folder: Path, drawn_and_encoded: Path) -> None:
    made = train(recipe("xs", Path(shutil.copytree(drawn_and_encoded, folder / "made"))))
    (folder / "demo").mkdir()
    (folder / "demo/model").symlink_to(made)
    run_page("docs/guide/models.md", folder)
    assert len(list((folder / "images").glob("*.png"))) == 11 and (folder / "sheet.png").is_file()


@pytest.mark.slow
def test_the_guide_to_benchmarks(folder: Path, model: Path) -> None:
    (folder / "demo").mkdir()
    shutil.copytree(model, folder / "demo/model")
    done = run_page("docs/guide/benchmarks.md", folder)
    assert len(done) == 4
    made = folder / "demo/model/evaluation"
    assert (made / "geneval/geneval/00000/samples/0003.png").is_file()
    assert (made / "dpg/dpg/drawtext1.png").is_file() and (
        made / "geneval2/geneval2/image_paths-0.json"
    ).is_file()
    assert len(json.loads((folder / "parti/results.json").read_text())["scorers"]) == 2


def test_the_guide_to_releases(folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "demo").mkdir()
    (folder / "demo/model").symlink_to(model)
    run_page("docs/guide/release.md", folder)
    shown = " ".join(capsys.readouterr().out.split())
    assert "valid: not changed" in shown and "trusted: not changed" in shown and "Museum of Examples" in shown


@pytest.mark.slow
def test_the_guide_to_metrics(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(run_page("docs/guide/metrics.md", folder)) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "drawn has 60 images, 1,281 are needed" in said and "too few images, allowed: 60 images each" in said
    )
    assert '"name": "CLIP score (clip-vit-base-patch32)"' in said


@pytest.mark.slow
def test_the_guide_to_memorisation(folder: Path, learned: Path, fill: ModuleType) -> None:
    (folder / "demo").symlink_to(learned.parent)
    run_page("docs/guide/memorisation.md", folder)
    assert (learned / "memorisation/memorisation.json").is_file() and (folder / "memorisation.html").is_file()
    on_the_page(fill, columns(folder / "demo/catalog.lance"))


@pytest.mark.slow
def test_the_plan_is_the_one_that_the_guide_shows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_page("docs/guide/plan.md", folder)
    shown = next(block for _, block in BLOCK.findall(text_of("docs/guide/plan.md")) if block.startswith("$ "))
    assert shown.split() == capsys.readouterr().out.split()


@pytest.mark.slow
def test_the_guide_to_votes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_page("docs/guide/arena-statistics.md", folder)
    shown = " ".join(capsys.readouterr().out.split())
    block = next(block for _, block in BLOCK.findall(text_of("docs/guide/arena-statistics.md")))
    assert " ".join(block.split()).removeprefix("$ ").partition(" Votes")[2] in shown
    assert "Undecided between" in shown and "240 votes of 8 raters added; 120 were there already" in shown
    assert (folder / "report.html").is_file() and (folder / "votes.csv").is_file()


@pytest.mark.slow
def test_the_tour_of_the_readme(folder: Path, photos: RawServer, capsys: pytest.CaptureFixture[str]) -> None:
    guides.dump(folder, photos)
    run_page("README.md", folder)
    assert len(list((folder / "images").glob("a-deer-*.png"))) == 4
    assert "Zoë +12" in capsys.readouterr().out, "look-up of one of the dump's photos"


@pytest.fixture
def photos() -> Iterator[RawServer]:
    with RawServer(guides.photos) as server:
        yield server


def on_the_page(fill: ModuleType, found: dict[str, str]) -> None:
    """Each column of a catalog is on the reference's page, under its own name or a pattern, with its type."""
    types = fill.column_types()
    for name, kind in found.items():
        # A caption's columns have the name that --column gives.
        name = re.sub(r"^caption_(?!model|status|clip)[a-z]+", "caption", name)
        patterns = {re.sub(r"<\w+>", "[a-z0-9_]+", known): known for known in types}
        known = next((types[one] for pattern, one in patterns.items() if name == one), None) or next(
            types[one] for pattern, one in reversed(patterns.items()) if re.fullmatch(pattern, name)
        )
        assert known.partition("[")[0] == kind.replace("item: ", "").partition("[")[0], name


def test_yaml_and_python_of_the_guides_are_valid(folder: Path) -> None:
    pages = {page.name: page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md")}
    found = [(name, kind, block) for name, text in pages.items() for kind, block in BLOCK.findall(text)]
    kinds = {kind for _, kind, _ in found}
    assert {"yaml", "python"} <= kinds <= {"", "yaml", "python"}
    for name, kind, block in found:
        if kind == "python":
            ast.parse(block, name)
        if kind == "yaml":
            (folder / "shown.yaml").write_text(block, encoding="utf-8")
            read = load_about if block.startswith("# about.yaml\n") else load_recipe
            read("shown.yaml")


def test_make_targets_and_scripts_that_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M)) <= targets, page
        for script in re.findall(r"\bbenchmarks/\w+\.py", text):
            assert (ROOT / script).is_file(), (page, script)
