"""An arena is built from models and from folders, again after a stop, and never says which model drew what."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from commoncanvas.arena import blind, command
from commoncanvas.arena.ballots import Task, open_ballots
from commoncanvas.arena.command import build
from commoncanvas.arena.prompts import prompts_of
from commoncanvas.arena.reading import read_votes
from commoncanvas.arena.real import real_images
from commoncanvas.arena.reporting.source import report_of
from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import ArenaError, CommonCanvasError, EvaluationError
from commoncanvas.options.arena import ArenaOptions, CheckRule
from commoncanvas.options.generate import DrawOptions
from tests.arena.conftest import Make
from tests.conftest import COLOURS

PARTI = (
    'Prompt\tCategory\tChallenge\tNote\nb\tAnimals\tBasic\t\n"a" sign\tSigns\tText\tx\nb\tAnimals\tBasic\t\n'
)


def folder_of(path: Path, names: list[str], kind: str = "PNG") -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        text = PngInfo()
        text.add_text("model", path.name)
        image = Image.new("RGB", (20, 12), (10 * number, len(path.name), 3))
        image.save(
            path / name, kind, **({"pnginfo": text} if kind == "PNG" else {"comment": path.name.encode()})
        )
    return path


def test_nothing_that_raters_get_says_which_model_drew_it(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("one\ntwo\n")
    first = folder_of(tmp_path / "wonderful", ["00000.png", "00001.png"])
    second = folder_of(tmp_path / "terrible", ["00000.png", "00001.png"], "JPEG")
    arena = tmp_path / "arena"
    built = build([str(first), str(second)], str(tmp_path / "prompts.txt"), arena)
    assert built.models == {"terrible": 2, "wonderful": 2} and (built.pairs, built.noise_pairs) == (2, 2)
    files = list((arena / "images").glob("*.png"))
    assert len(files) == 6
    for file in files:
        assert re.fullmatch("[0-9a-f]{32}", file.stem) and file.stat().st_mtime == 0
        assert not re.search(b"wonderful|terrible|tEXt|iTXt|eXIf|tIME", file.read_bytes())
        with Image.open(file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "RGB", (20, 12))
    assert not re.search("[0-9a-f]{32}", json.dumps(json.loads((arena / "arena.json").read_text())["models"]))
    other = build([str(first), str(second)], str(tmp_path / "prompts.txt"), tmp_path / "other")
    assert other.pairs == 2
    names = {file.name for file in files} & {
        file.name for file in (tmp_path / "other" / "images").glob("*.png")
    }
    assert not names, "names of one arena say nothing about another"


@pytest.mark.slow
def test_a_model_draws_at_stated_seeds_and_a_stopped_build_goes_on(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\n")
    spec, arena = str(tmp_path / "prompts.txt"), tmp_path / "arena"
    drawing, specs = DrawOptions(steps=1, count=2, seed=7), [f"one={model}", f"two={model}"]
    write, written = blind.write_image, []

    def stops(path: Path, image: Image.Image) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        write(path, image)
        written.append(path)

    monkeypatch.setattr(command, "write_image", stops)
    with pytest.raises(OSError, match="No space"):
        build(specs, spec, arena, drawing)
    times = {path: path.stat().st_ino for path in written}
    monkeypatch.setattr(command, "write_image", write)
    built = build(specs, spec, arena, drawing)
    assert built.models == {"one": 4, "two": 4} and built.pairs == built.new_pairs == 4
    assert times == {path: path.stat().st_ino for path in written}, "what was drawn is not drawn again"
    assert build(specs, spec, arena, drawing).new_pairs == 0
    about = json.loads((arena / "arena.json").read_text())
    assert about["models"][0]["drawing"]["seed"] == 7 and len(about["models"][0]["weights_sha256"]) == 64

    from commoncanvas.drawing.generate import generate

    alone = generate(model, "a blue square", DrawOptions(steps=1, seed=8))[0]
    with sqlite3.connect(arena / "arena.sqlite") as connection:
        (image,) = connection.execute(
            "SELECT images.id FROM images JOIN prompts ON prompts.id = prompt "
            "WHERE model = 'two' AND text = 'a blue square' AND number = 1"
        ).fetchone()
    difference = max(
        abs(a - b)
        for a, b in zip(
            Image.open(arena / "images" / f"{image}.png").tobytes(),
            alone.convert("RGB").tobytes(),
            strict=True,
        )
    )
    assert difference <= 1
    with pytest.raises(ArenaError, match="other settings"):
        build(specs, spec, arena, DrawOptions(steps=2, count=2, seed=7))
    (tmp_path / "prompts.txt").write_text("a green star\n")
    with sqlite3.connect(arena / "arena.sqlite") as connection:
        connection.execute("UPDATE models SET sha256 = 'another'")
    with pytest.raises(ArenaError, match="other weights"):
        build(specs, spec, arena, drawing)


def test_a_benchmarks_own_file_and_folder_are_read(tmp_path: Path) -> None:
    (tmp_path / "PartiPrompts.tsv").write_text(PARTI)
    found = prompts_of(f"parti:{tmp_path / 'PartiPrompts.tsv'}")
    assert [(each.text, each.category) for each in found.prompts] == [("b", "Animals"), ('"a" sign', "Signs")]
    assert found.files(1) == [["00000.png"], ["00001.png"]], "places are those of the file, twins included"
    names = ["00000.png", "00001.png"]
    models = [str(folder_of(tmp_path / name, names)) for name in ("x", "y")]
    built = build(models, f"parti:{tmp_path / 'PartiPrompts.tsv'}", tmp_path / "arena")
    assert built.categories == {"Animals": 1, "Signs": 1}


def test_a_file_of_ones_own_may_have_categories(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("Prompt,category,note\na,x,1\n b \u202e,,\n")
    assert [(each.text, each.category) for each in prompts_of(str(path)).prompts] == [("a", "x"), ("b", "")]
    path.write_text("text\na\n")
    with pytest.raises(ArenaError, match="line 1: no column prompt; found text"):
        prompts_of(str(path))
    path.write_text("prompt,category\n,x\n")
    with pytest.raises(ArenaError, match="line 2: no prompt"):
        prompts_of(str(path))
    path.write_text("prompt\n")
    with pytest.raises(ArenaError, match="no prompts"):
        prompts_of(str(path))
    with pytest.raises(EvaluationError, match="nothing"):
        prompts_of(f"nothing:{path}")


def test_what_can_not_be_compared_is_one_line(tmp_path: Path, make: Make) -> None:
    (tmp_path / "two.txt").write_text("one\ntwo\n")
    spec, out = str(tmp_path / "two.txt"), tmp_path / "new"
    first = str(folder_of(tmp_path / "first", ["00000.png", "00001.png"]))
    short = str(folder_of(tmp_path / "short", ["00000.png"]))
    for models, message in (
        ([first, short], r"has no 00001.png, image 1 of the prompt 'two'"),
        ([first, first], "two models are called first"),
        ([first, f"noise={first}"], "needs another name"),
        ([first, f"a\x1bb={first}"], "needs another name"),
    ):
        with pytest.raises(ArenaError, match=message):
            build(models, spec, out)
    assert not out.exists()
    (tmp_path / "short" / "00001.png").write_bytes(b"GIF89a")
    with pytest.raises(ArenaError, match=r"00001\.png can't be used as an image"):
        build([first, short], spec, out)
    with pytest.raises(CommonCanvasError, match="nowhere"):
        build([first, "nowhere"], spec, out)
    arena = make(2)
    real = folder_of(tmp_path / "real", ["a.png"])
    (real / "a.txt").write_text("a photo")
    for option, message in (
        ({"alignment": True}, "alignment: none in this arena"),
        (
            {"left_out": CheckRule(noise=0.9)},
            r"left-out: who passed fewer than 60 % .* for: who passed fewer than 90 %",
        ),
        ({"real_images": str(real)}, "real-images: none in this arena"),
    ):
        with pytest.raises(ArenaError, match=message):
            build([first], spec, arena, asking=ArenaOptions(**option))
    with pytest.raises(ArenaError, match=r"checks 0\.9"):
        ArenaOptions(checks=0.9)


def test_the_rule_that_leaves_raters_out_is_stored_and_stated(make: Make, tmp_path: Path) -> None:
    arena = make(4, left_out=CheckRule(noise=0.75, repeat=0.5, least=3))
    ballots = open_ballots(arena)
    rater = ballots.join()
    task = ballots.task(rater)
    assert isinstance(task, Task)
    ballots.vote(rater, task.assignment, task.question, task.attempt, "left")
    said = " ".join(str(report_of(arena)).split())
    assert (
        "passed fewer than 75 % of noise checks or fewer than 50 % of repeated checks, of 3 or more" in said
    )
    assert "fixed when the arena was built" in said
    assert json.loads((arena / "arena.json").read_text())["left_out"] == {
        "noise": 0.75,
        "repeat": 0.5,
        "least": 3,
    }


def test_checks_show_real_images_with_their_own_text_and_credit(
    make: Make, shapes: Catalog, tmp_path: Path
) -> None:
    photos = folder_of(tmp_path / "photos", ["a.png", "b.png"])
    for name in "ab":
        (photos / f"{name}.txt").write_text(f"a photo of {name}\n")
    for source, texts in ((str(photos), ("a photo of",)), (shapes.uri, tuple(COLOURS))):
        made = make(3, models=2)
        arena = tmp_path / f"of {Path(source).stem}"
        models = [str(made.parent / f"model-{number}") for number in range(2)]
        options = ArenaOptions(checks=0.5, per_rater=0, real_images=source)
        built = build(models, str(made.parent / "prompts.tsv"), arena, asking=options)
        assert (built.pairs, built.prompts) == (3, 3) and set(built.models) == {"model-0", "model-1"}
        assert built.noise_pairs >= 2
        again = build(models, str(made.parent / "prompts.tsv"), arena, asking=options)
        assert (again.new_pairs, again.noise_pairs) == (0, built.noise_pairs)
        ballots = open_ballots(arena)
        noise = {row[0] for row in ballots.connection.execute("SELECT id FROM images WHERE model = 'noise'")}
        rater, shown = ballots.join(), []
        while isinstance(task := ballots.task(rater), Task):
            if noise & {task.left, task.right}:
                shown.append(task.prompt)
            answer = "right" if task.left in noise else "left"
            ballots.vote(rater, task.assignment, task.question, task.attempt, answer)
        assert shown and all(text.startswith(texts) for text in shown)
        report = report_of(arena)
        assert "Checks against noise showed a real image" in " ".join(str(report).split())
        assert not report.basis.left_out and report.models == ("model-0", "model-1")
        assert {"noise", "real"} not in [
            {vote.left, vote.right} for vote in read_votes(arena) if not vote.check
        ]
        assert bool(report.basis.credits) == (source == shapes.uri)
    assert "painter" in report.basis.credits[0] and "CC BY" in report.basis.credits[0]
    (photos / "b.txt").unlink()
    with pytest.raises(ArenaError, match=r"b\.txt is missing or empty; write the text of b\.png"):
        real_images(str(photos), 24, 0)
