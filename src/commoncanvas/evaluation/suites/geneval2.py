"""GenEval 2 (Kamath et al., arXiv 2512.16853): `geneval2_data.jsonl`, with a question for each atom of a prompt.

Folder form: the images, and image_paths-0.json from prompts to files, which its `evaluation.py` reads. It takes one
image a prompt, so image 1 of each prompt is in image_paths-1.json, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.suite_prompt import Question, SuitePrompt
from commoncanvas.evaluation.suites.layout import flat, image_name, write_json
from commoncanvas.evaluation.suites.reading import json_lines, numbered, text_of
from commoncanvas.evaluation.suites.suite import Drawn, Suite, one_file


def read(path: Path) -> list[SuitePrompt]:
    prompts: list[SuitePrompt] = []
    for place, record in json_lines(*one_file(path)):
        text = text_of(record, "prompt", place)
        pairs, skills = record.get("vqa_list"), record.get("skills")
        if not isinstance(pairs, list) or not isinstance(skills, list) or len(pairs) != len(skills):
            raise EvaluationError(f"{place}: vqa_list and skills must be lists of one length")
        questions = tuple(_question(*each, place) for each in zip(pairs, skills, strict=True))
        if not questions:
            raise EvaluationError(f"{place}: vqa_list has no questions")
        atoms = {"atoms": f"{int(record['atom_count']):02}"} if "atom_count" in record else {}
        prompts.append(SuitePrompt(numbered(len(prompts)), text, atoms, questions, record))
    return prompts


def _question(pair: Any, skill: Any, place: str) -> Question:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(each, str) for each in pair):
        raise EvaluationError(f"{place}: each entry of vqa_list must be a question and its answer")
    return Question(pair[0], pair[1], {"skill": str(skill)})


files, _flat = flat(image_name)


def lay_out(prompts: Sequence[SuitePrompt], drawn: Drawn, folder: Path) -> None:
    _flat(prompts, drawn, folder)
    count = max(len(images) for images in drawn.values())
    names = files(prompts, count)
    for number in range(count):
        paths = {
            each.text: str((folder / own[number]).absolute())
            for each, own in zip(prompts, names, strict=True)
        }
        write_json(folder / f"image_paths-{number}.json", paths)


SUITE = Suite(
    "geneval2",
    1,
    read,
    files,
    lay_out,
    one_file,
    scored="python evaluation.py --benchmark_data geneval2_data.jsonl --image_filepath_data "
    "FOLDER/image_paths-0.json --method soft_tifa_gm --output_file scores.json",
)
