"""Published prompt files are read as they are, and images are laid out as the benchmarks' own scorers read them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import refuse_others
from commoncanvas.evaluation.suites.suite import SUITES, load_suite

GENEVAL = [
    {"tag": "single_object", "include": [{"class": "bench", "count": 1}], "prompt": "a photo of a bench"},
    {
        "tag": "counting",
        "include": [{"class": "dog", "count": 2}],
        "exclude": [{"class": "dog", "count": 3}],
        "prompt": "a photo of two dogs",
    },
    {
        "tag": "position",
        "include": [
            {"class": "cat", "count": 1},
            {"class": "bird", "count": 1, "position": ["below", 0]},
        ],
        "prompt": "a photo of a bird below a cat",
    },
    {
        "tag": "colors",
        "include": [{"class": "car", "count": 1, "color": "red"}],
        "prompt": "a photo of a red car",
    },
]
GENEVAL2 = [
    {
        "prompt": "four dogs",
        "atom_count": 3,
        "vqa_list": [
            ["How many dogs are in the image?", "four"],
            ["Are there any dogs in the image?", "Yes"],
        ],
        "skills": ["count", "object"],
    },
    {
        "prompt": "a green car",
        "atom_count": 4,
        "vqa_list": [["Is the car green?", "Yes"]],
        "skills": ["attribute"],
    },
]
PARTI = (
    "Prompt\tCategory\tChallenge\tNote\n"
    "bond\tAbstract\tBasic\tBiology-inspired\n"
    '"G I G G L E" painted on a wall\tIllustrations\tWriting & Symbols\t\n'
    "a dog's 5\" bone\tAnimals\tBasic\t\n"
)
DRAWBENCH = (
    "Prompts,Category\n"
    "A red colored car.,Colors\n"
    '"A stack of 3 plates. A blue plate is on the top, sitting on a blue plate.",DALL-E\n'
    "A pear cut into seven pieces arranged in a ring.,Gary Marcus et al. \n"
)
DPG_HEAD = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,"
    "question_natural_language\n"
)
DPG = DPG_HEAD + (
    "0,a green dog,,1,0,entity,whole,entity - whole (dog),Is there a dog?\n"
    '0,a green dog,,2,"1",attribute,color,"attribute - color (dog, green)",Is the dog green?\n'
    'drawtext1,a sign,,1,0,entity,whole,entity - whole (sign),"Is there a sign, with text?"\n'
)


def lines(path: Path, records: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def dpg_folder(root: Path) -> Path:
    (root / "prompts").mkdir(parents=True)
    (root / "prompts/0.txt").write_text("a green dog\n")
    (root / "prompts/drawtext1.txt").write_text("a sign that says hello")
    (root / "dpg_bench.csv").write_text(DPG)
    return root


def published(suite: str, folder: Path) -> Path:
    """A small file in the published form of a suite."""
    match suite:
        case "geneval":
            return lines(folder / "evaluation_metadata.jsonl", GENEVAL)
        case "geneval2":
            return lines(folder / "geneval2_data.jsonl", GENEVAL2)
        case "parti":
            (folder / "PartiPrompts.tsv").write_text(PARTI)
            return folder / "PartiPrompts.tsv"
        case "drawbench":
            (folder / "drawbench.csv").write_text(DRAWBENCH)
            return folder / "drawbench.csv"
        case "dpg":
            return dpg_folder(folder / "dpg_bench")
    return lines(
        folder / "gpic_eval.jsonl",
        [
            {"key": "0a1b", "caption": "a dog", "caption_type": "short"},
            {"key": "77", "caption": "dog, car, street", "caption_type": "tag"},
        ],
    )


def read(suite: str, path: Path) -> list[SuitePrompt]:
    return load_suite(suite).prompts(path)


def test_prompts_and_categories_are_those_of_the_published_files(tmp_path: Path) -> None:
    found = {name: read(name, published(name, tmp_path)) for name in SUITES}
    geneval = found["geneval"]
    assert [each.categories["task"] for each in geneval] == [each["tag"] for each in GENEVAL]
    assert geneval[1].text == "a photo of two dogs" and geneval[1].record == GENEVAL[1]
    four = found["geneval2"][0]
    assert [(each.text, each.answer, each.categories["skill"]) for each in four.questions] == [
        ("How many dogs are in the image?", "four", "count"),
        ("Are there any dogs in the image?", "Yes", "object"),
    ]
    assert four.categories == {"atoms": "03"}
    parti = found["parti"]
    assert parti[1].text == '"G I G G L E" painted on a wall', "cells of this file are not quoted"
    assert parti[2].text == "a dog's 5\" bone" and parti[2].categories["challenge"] == "Basic"
    assert [each.categories["category"] for each in found["drawbench"]] == [
        "Colors",
        "DALL-E",
        "Gary Marcus et al.",
    ]
    assert found["drawbench"][1].text.startswith("A stack of 3 plates. A blue plate")
    dog, sign = found["dpg"]
    assert dog.text == "a green dog" and sign.text == "a sign that says hello"
    assert [each.text for each in dog.questions] == ["Is there a dog?", "Is the dog green?"], (
        "the first row counts"
    )
    assert dog.questions[1].parents == (0,) and dog.questions[0].parents == ()
    assert dog.questions[1].categories == {
        "question": "attribute",
        "question in detail": "attribute - color",
    }
    assert sign.questions[0].text == "Is there a sign, with text?"
    assert [each.name for each in found["gpic"]] == ["0a1b", "77"]
    assert found["gpic"][1].categories == {"caption type": "tag"}


def test_gpics_own_archives_are_read_too(tmp_path: Path) -> None:
    for number in range(2):
        with tarfile.open(tmp_path / f"gpic_test_{number:05}.tar", "w") as archive:
            for name, content in (
                (
                    f"k{number}.json",
                    json.dumps({"caption": f"a dog {number}", "caption_type": "long"}).encode(),
                ),
                (f"k{number}.jpg", b"not read"),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    found = read("gpic", tmp_path)
    assert [(each.name, each.text) for each in found] == [("k0", "a dog 0"), ("k1", "a dog 1")]
    (tmp_path / "gpic_test_00000.tar").write_bytes(b"no tar")
    with pytest.raises(EvaluationError, match=r"gpic_test_00000\.tar can't be read as a tar file"):
        read("gpic", tmp_path)


@pytest.mark.parametrize(
    ("suite", "name", "text", "said"),
    [
        ("geneval", "x.jsonl", "{", r"x\.jsonl, line 1: not JSON"),
        ("geneval", "x.jsonl", '{"tag": "a", "prompt": "b"}', "line 1: no 'include'"),
        (
            "geneval",
            "x.jsonl",
            '{"tag": "a", "prompt": "b", "include": [{"class": "c", "count": 1, "position": ["below", 0]}]}',
            "include 1: position must be",
        ),
        (
            "geneval2",
            "x.jsonl",
            '{"prompt": "a", "vqa_list": [["q", "a"]], "skills": []}',
            "lists of one length",
        ),
        ("parti", "x.tsv", "a,b\n", "line 1: the columns must begin with Prompt, Category, Challenge"),
        ("parti", "x.tsv", "Prompt\tCategory\tChallenge\nbond\tAbstract\n", "line 2: no Prompt"),
        ("drawbench", "x.csv", "Prompts,Category\na dog,\n", "line 2: no Prompts or no Category"),
        ("drawbench", "x.csv", "Prompts,Category\n", "has no prompts"),
        ("gpic", "x.jsonl", '{"key": "../../up", "caption": "a"}', "can't be the name of a file"),
        (
            "gpic",
            "x.jsonl",
            '{"key": "a", "caption": "a"}\n{"key": "a", "caption": "b"}',
            "two prompts called 'a'",
        ),
    ],
)
def test_a_wrong_file_is_named_with_its_line(
    suite: str, name: str, text: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(EvaluationError, match=said):
        read(suite, tmp_path / name)


def pictures(folder: Path, prompts: list[SuitePrompt], count: int) -> dict[str, list[Path]]:
    """An image in a colour of its own for each prompt and number."""
    folder.mkdir()
    found: dict[str, list[Path]] = {}
    for place, prompt in enumerate(prompts):
        for number in range(count):
            path = folder / f"{place}-{number}.png"
            Image.new("RGB", (8, 8), (place, number, 7)).save(path)
            found.setdefault(prompt.name, []).append(path)
    return found


def colour(path: Path) -> tuple[int, ...]:
    return tuple(int(value) for value in np.asarray(Image.open(path).convert("RGB"))[0, 0])


@pytest.mark.parametrize("suite", SUITES)
def test_each_image_is_where_the_suite_says_and_none_is_elsewhere(suite: str, tmp_path: Path) -> None:
    own = load_suite(suite)
    prompts = own.prompts(published(suite, tmp_path))
    for count in {1, own.images}:
        drawn = pictures(tmp_path / f"drawn-{count}", prompts, count)
        folder = tmp_path / f"form-{count}"
        own.lay_out(prompts, drawn, folder)
        wanted = {folder / name for names in own.files(prompts, count) for name in names}
        assert set(folder.rglob("*.png")) == wanted
        own.lay_out(prompts, drawn, folder)  # a second time: nothing changes
        assert set(folder.rglob("*.png")) == wanted
        refuse_others(folder, own.files(prompts, count))
        with pytest.raises(EvaluationError, match="of another run"):
            refuse_others(folder, own.files(prompts[1:], count))


def test_genevals_form_is_what_its_evaluate_images_walks(tmp_path: Path) -> None:
    own = load_suite("geneval")
    prompts = own.prompts(published("geneval", tmp_path))
    own.lay_out(prompts, pictures(tmp_path / "drawn", prompts, 4), tmp_path / "form")
    seen = []
    # As evaluate_images.py does it: folders of digits, one JSON document, images of digits.
    for folder in sorted((tmp_path / "form").iterdir()):
        assert folder.is_dir() and folder.name.isdigit()
        record = json.loads((folder / "metadata.jsonl").read_text())
        assert record == GENEVAL[int(folder.name)]
        images = [path for path in (folder / "samples").iterdir() if re.match(r"\d+\.png", path.name)]
        seen += [colour(path) for path in images]
    assert sorted(seen) == [(place, number, 7) for place in range(4) for number in range(4)]


def test_geneval2s_files_name_the_image_of_each_prompt(tmp_path: Path) -> None:
    own = load_suite("geneval2")
    prompts = own.prompts(published("geneval2", tmp_path))
    own.lay_out(prompts, pictures(tmp_path / "drawn", prompts, 2), tmp_path / "form")
    for number in range(2):
        paths = json.loads((tmp_path / f"form/image_paths-{number}.json").read_text())
        assert [colour(Path(paths[prompt.text])) for prompt in prompts] == [(0, number, 7), (1, number, 7)]


def test_dpgs_sheets_are_cut_into_all_four_images(tmp_path: Path) -> None:
    own = load_suite("dpg")
    prompts = own.prompts(published("dpg", tmp_path))
    own.lay_out(prompts, pictures(tmp_path / "drawn", prompts, 4), tmp_path / "form")
    assert [path.name for path in sorted((tmp_path / "form").iterdir())] == ["0.png", "drawtext1.png"]
    sheet, side = Image.open(tmp_path / "form/drawtext1.png"), 8
    places = [(0, 0), (side, 0), (0, side), (side, side)]  # in the order of compute_dpg_bench.py
    cut = [sheet.crop((x, y, x + side, y + side)).getcolors() for x, y in places]
    assert cut == [[(64, (1, number, 7))] for number in range(4)]


def test_a_digest_changes_with_any_of_the_files(tmp_path: Path) -> None:
    own = load_suite("dpg")
    root = published("dpg", tmp_path)
    before = own.digest(root)
    (root / "prompts/0.txt").write_text("a blue dog")
    changed = own.digest(root)
    (root / "dpg_bench.csv").write_text(DPG.replace("green?", "blue?"))
    assert len({before, changed, own.digest(root)}) == 3
