"""Scorers: transformers' and open_clip's own classes with small random weights, loaded as the real ones are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoModelForZeroShotObjectDetection,
    AutoProcessor,
    CLIPModel,
)

from commoncanvas.captioning.quality.clip import ClipModel
from commoncanvas.core.errors import EvaluationError, ModelError
from commoncanvas.evaluation.scorers import hpsv2
from commoncanvas.evaluation.scorers.scorer import Judgement, Scorer, load_scorer
from commoncanvas.evaluation.suite_prompt import Question, SuitePrompt
from commoncanvas.options.scorers import DEFAULTS, ScorerOptions
from tests.captioning.models import llava
from tests.evaluation import scorer_models as models


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scorers")
    for name in ("clip", "owlv2", "grounding_dino"):
        getattr(models, name)(folder / name)
    models.hpsv2(folder / "HPS_v2.1_compressed.pt")
    llava(folder / "llava", models.ANSWERS)
    return folder


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    sizes = [(64, 64), (64, 64), (48, 80), (64, 64)]
    small = [random.integers(0, 256, (height // 8, width // 8, 3), np.uint8) for height, width in sizes]
    return [
        np.asarray(Image.fromarray(image).resize((width, height)))
        for image, (height, width) in zip(small, sizes, strict=True)
    ]


RECORD = {
    "include": [
        {"class": "dog", "count": 1},
        {"class": "car", "count": 1, "color": "red", "position": ["below", 0]},
    ]
}
PROMPTS = [
    SuitePrompt(
        str(number),
        text,
        {},
        (Question("How many dogs?", "four", {"skill": "count"}), Question(f"Is it {text}?")),
        RECORD,
    )
    for number, text in enumerate(["a dog", "a red car", "a photo of a bench " * 20, "a cat"])
]


def load(kind: str, root: Path, **options: Any) -> Scorer:
    files = {"vqa": "llava", "soft-tifa": "llava", "hpsv2": "HPS_v2.1_compressed.pt"}
    name = files.get(kind, "owlv2" if kind == "detector" else "clip")
    given = replace(DEFAULTS, colour_clip=str(root / "clip"), **options)
    return load_scorer(f"{kind}:{root / name}", given, "cpu")


@pytest.fixture
def small_hps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HPSv2's architecture, small."""
    import open_clip

    (tmp_path / "small-hps.json").write_text(json.dumps(models.HPS))
    open_clip.add_model_config(tmp_path / "small-hps.json")
    monkeypatch.setattr(hpsv2, "ARCHITECTURE", "small-hps")


KINDS = ("vqa", "soft-tifa", "detector", "pickscore", "hpsv2", "clip")


@pytest.mark.usefixtures("small_hps")
@pytest.mark.parametrize("kind", KINDS)
def test_a_score_does_not_depend_on_the_other_images(
    kind: str, root: Path, images: list[NDArray[np.uint8]]
) -> None:
    scorer = load(kind, root)
    together = scorer(PROMPTS, images)
    alone = [scorer([prompt], [image])[0] for prompt, image in zip(PROMPTS, images, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.figures == pytest.approx(other.figures, rel=1e-4)
        assert [part.text for part in one.parts] == [part.text for part in other.parts]
    first = next(iter(scorer.figures))
    assert set(together[0].figures) == set(scorer.figures)
    if kind not in ("detector", "clip"):  # they may have no object, and no cosine above 0
        other = scorer(PROMPTS[1:2], images[:1])[0]
        assert other.figures[first] != together[0].figures[first], "the prompt counts"
    info = scorer.info
    assert info.kind == kind and len(info.sha256) == 64 and info.settings


def logits(root: Path, image: NDArray[np.uint8], question: str, **generation: Any) -> torch.Tensor:
    """The logits of the first token of the answer, by a plain forward pass."""
    processor = AutoProcessor.from_pretrained(root / "llava")
    network = AutoModelForImageTextToText.from_pretrained(root / "llava").eval()
    content = [{"type": "image", "image": Image.fromarray(image)}, {"type": "text", "text": question}]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        found: torch.Tensor = network(**inputs).logits[0, -1].float()
    return found


def token(root: Path, word: str) -> int:
    return int(AutoProcessor.from_pretrained(root / "llava").tokenizer.convert_tokens_to_ids(word))


def test_vqascore_is_the_probability_of_yes(root: Path, images: list[NDArray[np.uint8]]) -> None:
    question = 'Does this figure show "a dog"? Please answer Yes or No.'
    wanted = logits(root, images[0], question).softmax(-1)[token(root, "Yes")]
    (found,) = load("vqa", root)(PROMPTS[:1], images[:1])
    assert found.figures["vqascore"] == pytest.approx(float(wanted), rel=1e-5)


def test_soft_tifa_adds_the_spellings_of_an_answer(root: Path, images: list[NDArray[np.uint8]]) -> None:
    chances = logits(root, images[0], "How many dogs? Answer in one word.").softmax(-1)
    wanted = float(chances[[token(root, "four"), token(root, "4")]].sum())
    (found,) = load("soft-tifa", root)(PROMPTS[:1], images[:1])
    assert found.parts[0].score == pytest.approx(wanted, rel=1e-5)
    assert found.parts[0].categories == {"skill": "count"} and found.parts[0].answer == "four"


def test_settings_of_generation_change_no_probability(
    root: Path, images: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    """A penalty of repetition would lower "Yes", since the question has it."""
    folder = tmp_path / "penalty"
    llava(folder, models.ANSWERS)
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"repetition_penalty": 5.0}))
    (wanted,) = load("vqa", root)(PROMPTS[:1], images[:1])
    (found,) = load_scorer(f"vqa:{folder}", DEFAULTS, "cpu")(PROMPTS[:1], images[:1])
    assert found.figures == wanted.figures


def test_a_model_without_the_answer_as_a_token_is_refused(
    images: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    llava(tmp_path / "spelling")
    with pytest.raises(ModelError, match="no single token for the answer 'Yes'"):
        load_scorer(f"vqa:{tmp_path / 'spelling'}", DEFAULTS, "cpu")(PROMPTS[:1], images[:1])


def test_pickscore_and_clip_score_are_the_models_own_logits(
    root: Path, images: list[NDArray[np.uint8]]
) -> None:
    processor, network = (
        AutoProcessor.from_pretrained(root / "clip"),
        CLIPModel.from_pretrained(root / "clip"),
    )
    scale = float(network.logit_scale.detach().exp())
    pick, score = load("pickscore", root), load("clip", root)
    for prompt, image in zip(PROMPTS, images, strict=True):
        inputs = processor(
            text=[prompt.text],
            images=[Image.fromarray(image)],
            truncation=True,
            padding="max_length",
            max_length=77,
            return_tensors="pt",
        )
        with torch.no_grad():
            wanted = float(network(**inputs).logits_per_image)
        (picked,), (scored,) = pick([prompt], [image]), score([prompt], [image])
        assert picked.figures["pickscore"] == pytest.approx(wanted, rel=1e-4)
        assert scored.figures["clip_score"] == pytest.approx(max(0, 100 * wanted / scale), rel=1e-4, abs=1e-4)
        assert picked.cut == scored.cut == (len(prompt.text) > 75), "a byte a token"


def test_the_clip_score_is_the_same_figure_by_open_clip(
    tmp_path: Path, images: list[NDArray[np.uint8]]
) -> None:
    folder = models.open_clip_folder(tmp_path / "own")
    scorer, clip = load_scorer(f"clip:{folder}", device="cpu"), ClipModel(folder, device="cpu")
    found = scorer(PROMPTS, images)
    cosines = (clip.images(images) * clip.texts([each.text for each in PROMPTS])).sum(1)
    np.testing.assert_allclose(
        [each.figures["clip_score"] for each in found], (100 * cosines).clip(0), atol=1e-4
    )
    assert [each.cut for each in found] == [False, False, True, False]
    assert scorer.info.name == "clip:own" and scorer.info.sha256 == clip.sha256()
    assert scorer.info.mark()["scorer_revision"] == clip.sha256()
    assert load_scorer(f"clip:{models.clip(tmp_path / 'other')}", device="cpu").info.name == "clip:other"


@pytest.mark.usefixtures("small_hps")
def test_hpsv2_pads_what_is_not_square(root: Path, images: list[NDArray[np.uint8]]) -> None:
    scorer = load("hpsv2", root)
    wide = images[2]
    padded = np.zeros((80, 80, 3), np.uint8)
    padded[16:64] = wide
    first, second = scorer([PROMPTS[0]] * 2, [wide, padded])
    assert first.figures["hpsv2"] == pytest.approx(second.figures["hpsv2"], abs=1.5)
    cropped = scorer([PROMPTS[0]], [np.ascontiguousarray(wide[:, 16:64])])[0]
    assert abs(cropped.figures["hpsv2"] - first.figures["hpsv2"]) > abs(
        second.figures["hpsv2"] - first.figures["hpsv2"]
    )
    assert -100 <= first.figures["hpsv2"] <= 100


@pytest.mark.usefixtures("small_hps")
def test_hpsv2_says_which_of_its_versions_scored(root: Path, tmp_path: Path) -> None:
    scorer = load("hpsv2", root)
    assert scorer.info.model == "HPS_v2.1_compressed.pt" and scorer.info.revision is None
    for wrong in ("xswu/HPSv2", "v3"):
        with pytest.raises(ModelError, match=r"give the file HPS_v2\.1_compressed\.pt"):
            load_scorer(f"hpsv2:{wrong}", DEFAULTS, "cpu")
    saved = torch.load(root / "HPS_v2.1_compressed.pt", weights_only=True)
    del saved["state_dict"]["visual.proj"]
    torch.save(saved, tmp_path / "half.pt")
    with pytest.raises(ModelError, match=r"lacks weights of small-hps \(visual\.proj\)"):
        load_scorer(f"hpsv2:{tmp_path / 'half.pt'}", DEFAULTS, "cpu")
    (tmp_path / "text.pt").write_text("not weights")
    with pytest.raises(ModelError, match="can't be read as its weights"):
        load_scorer(f"hpsv2:{tmp_path / 'text.pt'}", DEFAULTS, "cpu")


@pytest.mark.parametrize(("name", "question"), [("owlv2", "a photo of a dog"), ("grounding_dino", "dog.")])
def test_objects_are_what_transformers_finds_without_doubles(
    name: str, question: str, root: Path, images: list[NDArray[np.uint8]]
) -> None:
    from torchvision.ops import box_iou

    scorer: Any = load_scorer(f"detector:{root / name}", ScorerOptions(colour_clip=str(root / "clip")), "cpu")
    scorer._kind = scorer._kind._replace(threshold=0.001, counting=0.001)  # random weights are never sure
    found = scorer._objects(images[:2], [["dog"], ["dog"]])
    processor = AutoProcessor.from_pretrained(root / name)
    network = AutoModelForZeroShotObjectDetection.from_pretrained(root / name).eval()
    for place, image in enumerate(images[:2]):
        inputs = processor(images=Image.fromarray(image), text=[question], return_tensors="pt")
        with torch.no_grad():
            outputs = network(**inputs)
        (wanted,) = processor.post_process_grounded_object_detection(
            outputs, threshold=0.001, target_sizes=[image.shape[:2]]
        )
        objects = found[place, "dog"]
        assert 1 <= len(objects) <= min(16, len(wanted["scores"]))
        assert objects[0].score == pytest.approx(float(wanted["scores"].max()), rel=1e-4)
        assert [each.score for each in objects] == sorted([each.score for each in objects], reverse=True)
        boxes = torch.tensor([each.box for each in objects])
        assert (box_iou(boxes, boxes) - torch.eye(len(boxes))).max() <= 0.5
        assert boxes.min() >= 0 and boxes.max() <= 64


def test_a_detectors_result_says_what_failed(root: Path, images: list[NDArray[np.uint8]]) -> None:
    scorer: Any = load("detector", root)
    scorer._kind = scorer._kind._replace(threshold=1.0, counting=1.0)
    none: Judgement = scorer(PROMPTS[:1], images[:1])[0]
    assert (
        none.figures == {"right": 0.0} and none.note == "0 dog, at least 1 wanted; 0 car, at least 1 wanted"
    )
    assert scorer.info.settings["detector"] == "owlv2" and scorer.info.kind == "detector"
    scorer._kind = scorer._kind._replace(threshold=0.001, counting=0.001)
    some = scorer(PROMPTS[:1], images[:1])[0]
    assert {part.categories["check"] for part in some.parts} >= {"object", "colour"}


def test_a_scorer_must_be_named_with_its_model() -> None:
    for wrong in ("vqa", "geneval:x", "vqa:"):
        with pytest.raises(EvaluationError, match="must be KIND:MODEL"):
            load_scorer(wrong, DEFAULTS)
