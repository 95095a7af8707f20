"""Objects, counts, colours and positions by an open-vocabulary detector: GenEval's checks, but not its detector.

GenEval's own is Mask2Former, trained on COCO. So these figures can't be compared with published ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, ClassVar, NamedTuple

import torch
from PIL import Image

from commoncanvas.core.errors import ModelError
from commoncanvas.evaluation.scorers.clip import load_clip, look_for_clip
from commoncanvas.evaluation.scorers.colours import ColourNames
from commoncanvas.evaluation.scorers.composition import Found, check
from commoncanvas.evaluation.scorers.scorer import Figure, Images, Judgement, Part, ScorerInfo
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.models.card import card_license
from commoncanvas.models.devices import in_batches, pick_device
from commoncanvas.models.hub import locate
from commoncanvas.models.vae import weights_sha256
from commoncanvas.models.weights import load_network, load_tokenizer
from commoncanvas.options.scorers import ScorerOptions

BATCH = 8
OVERLAP = 0.5
"""Of boxes of one class that overlap by more than this (IoU), only the surest is kept."""
MOST = 16
"""Most objects of a class in an image, as in GenEval."""


class Detector(NamedTuple):
    """How a kind of detector is asked. `threshold`: least score of an object; `counting`: where objects are counted."""

    question: str
    threshold: float
    counting: float


DETECTORS = {
    "owlv2": Detector("a photo of a {}", 0.2, 0.3),
    "owlvit": Detector("a photo of a {}", 0.1, 0.2),
    "grounding-dino": Detector("{}.", 0.35, 0.4),
    "mm-grounding-dino": Detector("{}.", 0.35, 0.4),
}
"""By `model_type`. The thresholds are near their authors' own; nobody has fitted them to people's judgements."""


class DetectorScore:
    """An image is right if all checks of its prompt hold."""

    figures: ClassVar = {
        "right": Figure(True, "share of images whose objects, counts, colours, positions hold")
    }

    def __init__(self, model: str, options: ScorerOptions, device: str = "auto") -> None:
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        self._device = pick_device(device)
        self._processor: Any = load_tokenizer(AutoProcessor, model, "scorer", as_kind="detector")
        self._network: Any = load_network(
            AutoModelForZeroShotObjectDetection, model, "scorer", as_kind="detector"
        )
        kind = str(self._network.config.model_type)
        if kind not in DETECTORS:
            raise ModelError(f"detector {model} is a {kind}; use one of: {', '.join(DETECTORS)}")
        self._kind = DETECTORS[kind]
        revision = getattr(self._network.config, "_commit_hash", None)
        digest = weights_sha256(self._network)
        self._network.to(self._device)
        self._colours = ColourNames(load_clip(options.colour_clip, device, "colour CLIP"))
        settings = {
            "detector": kind,
            **self._kind._asdict(),
            "overlap": OVERLAP,
            "precision": "fp32",
            "colours": self._colours.settings(),
        }
        resize = "by the detector's own processor, transformers"
        self.info = ScorerInfo("detector", model, revision, digest, card_license(model), resize, settings)

    @staticmethod
    def look(model: str, options: ScorerOptions) -> None:
        locate(model, "scorer")
        look_for_clip(options.colour_clip, "colour CLIP")

    @staticmethod
    def lacks(prompt: SuitePrompt) -> str | None:
        return None if prompt.record.get("include") else "objects to look for (of GenEval's file)"

    def __call__(self, prompts: Sequence[SuitePrompt], images: Images) -> list[Judgement]:
        wanted = [_classes(prompt) for prompt in prompts]
        found = self._objects(images, wanted)
        return [
            self._judged(prompt, image, {name: found[place, name] for name in names})
            for place, (prompt, image, names) in enumerate(zip(prompts, images, wanted, strict=True))
        ]

    def _judged(self, prompt: SuitePrompt, image: Any, found: Mapping[str, Sequence[Found]]) -> Judgement:
        counted = bool(prompt.record.get("exclude"))
        least = self._kind.counting if counted else self._kind.threshold
        sure = {name: [each for each in some if each.score > least] for name, some in found.items()}
        checks = check(prompt.record, sure, lambda name, some: self._colours(image, name, some))
        parts = tuple(Part(said, float(holds), {"check": kind}) for kind, holds, said in checks)
        note = "; ".join(said for _, _, said in checks if said)
        return Judgement({"right": float(all(holds for _, holds, _ in checks))}, parts, note)

    def _objects(self, images: Images, wanted: Sequence[Sequence[str]]) -> dict[tuple[int, str], list[Found]]:
        """(place of the image, class) -> its objects, the surest first.

        A batch asks for one class in images of one size, so nothing is padded, and an image's objects don't depend on
        the others.
        """
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, names in enumerate(wanted):
            for name in names:
                groups[name, images[place].shape].append(place)
        found: dict[tuple[int, str], list[Found]] = {}
        for (name, _), places in groups.items():
            batches, _ = in_batches(partial(self._detected, images, name), places, BATCH)
            objects = chain.from_iterable(batches)
            found |= {(place, name): some for place, some in zip(places, objects, strict=True)}
        return found

    @torch.no_grad()
    def _detected(self, every: Images, name: str, places: Sequence[int], size: int) -> list[list[Found]]:
        """The objects of a class in the images at `places`."""
        from torchvision.ops import nms

        images = [every[place] for place in places]
        question = self._kind.question.format(name)
        shown = [Image.fromarray(image) for image in images]
        inputs = self._processor(images=shown, text=[question] * len(shown), return_tensors="pt")
        outputs = self._network(**inputs.to(self._device))
        least = min(self._kind.threshold, self._kind.counting)
        results = self._processor.post_process_grounded_object_detection(
            outputs, threshold=least, target_sizes=[image.shape[:2] for image in images]
        )
        found = []
        for image, result in zip(images, results, strict=True):
            boxes, scores = result["boxes"].float().cpu(), result["scores"].float().cpu()
            height, width = image.shape[:2]
            boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
            boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
            kept = nms(boxes, scores, OVERLAP)[:MOST]
            found.append([Found(tuple(boxes[n].tolist()), float(scores[n])) for n in kept.tolist()])
        return found


def _classes(prompt: SuitePrompt) -> list[str]:
    clauses = [*prompt.record.get("include", ()), *prompt.record.get("exclude", ())]
    return list(dict.fromkeys(str(each["class"]) for each in clauses))
