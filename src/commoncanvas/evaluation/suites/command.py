"""Draw a benchmark's prompts with a model, lay the images out as its own scorer wants them, and score them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from commoncanvas.core.console import progress
from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import only_one, replace_json
from commoncanvas.drawing.generate import drawn
from commoncanvas.drawing.requests import Request
from commoncanvas.evaluation import fingerprint
from commoncanvas.evaluation.scorers.saved import SavedScores
from commoncanvas.evaluation.scorers.scorer import Judgement, Scorer, check_scorer, load_scorer
from commoncanvas.evaluation.scorers.summary import summary
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.evaluation.suites.layout import refuse_others
from commoncanvas.evaluation.suites.result import ScorerResult, SuiteResult
from commoncanvas.evaluation.suites.suite import Suite, load_suite
from commoncanvas.options.credentials import OFF
from commoncanvas.options.evaluate import SuiteOptions
from commoncanvas.options.generate import DrawOptions
from commoncanvas.provenance.digests import file_sha256
from commoncanvas.provenance.model_card import EVALUATION

RESULTS = "results.json"
AT_ONCE = 32
"""Images that are scored together, and then saved."""


class DrawnImage(NamedTuple):
    """One image on disk, of prompt and seed."""

    prompt: SuitePrompt
    seed: int
    path: Path


def evaluate_suite(
    model: str | Path,
    options: SuiteOptions,
    *,
    out: str | Path | None = None,
    device: str = "auto",
) -> SuiteResult:
    """Draw the prompts of `options`, and score the images with each of its scorers.

    `out` (default: MODEL/evaluation/SUITE) gets drawn/ with every image, SUITE/ with the benchmark's own folder form,
    scores/ with every image's scores, and results.json. A run that was stopped goes on: images and scores that are
    there are not made again. Raises EvaluationError for options and prompts that can't be used; ModelError;
    MissingExtraError.
    """
    suite, path = _suite(options)
    every = suite.prompts(path)
    prompts = _part(every, options.samples)
    count, draw = _count(suite, options.images), _drawing(options)
    for spec in options.scorers:
        lacking = check_scorer(spec, prompts, options)
        if len(lacking) == len(prompts):
            raise EvaluationError(f"scorer {spec}: the prompts of {path} have no {lacking[0]}")
    folder = _folder(Path(model), suite.name, out)
    laid_out = folder / suite.name
    refuse_others(laid_out, suite.files(prompts, count))
    with only_one(folder):
        images, info = _draw(model, prompts, count, draw, folder / "drawn")
        suite.lay_out(prompts, _by_prompt(images), laid_out)
        settings = {
            "sampler": info["scheduler"],
            "steps": int(info["steps"]),
            "guidance_scale": float(info["guidance_scale"]),
            "size": f"{info['width']} x {info['height']}",
        }
        texts, seeds = [each.prompt.text for each in images], [each.seed for each in images]
        made = fingerprint.drawn(texts, seeds, images_per_prompt=count, **settings)
        digest = suite.digest(path)
        results = [
            _scored(load_scorer(spec, options, device), images, made, digest, folder)
            for spec in options.scorers
        ]
        found = SuiteResult(
            model=str(model),
            model_sha256=info["model_sha256"],
            suite=suite.name,
            prompts_file=path.name,
            prompts_sha256=digest,
            prompts=len(prompts),
            all_prompts=len(every),
            images=count,
            seed=draw.seed,
            settings=settings,
            scorers=tuple(results),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            out=str(folder),
            laid_out=str(laid_out),
            authors_scorer=suite.scored.replace("FOLDER", str(laid_out)).replace("SIDE", str(info["height"])),
        )
        replace_json(folder / RESULTS, found.to_dict())
    return found


def _suite(options: SuiteOptions) -> tuple[Suite, Path]:
    if options.suite is None or options.prompts_file is None:
        raise EvaluationError(
            "a suite needs the benchmark's own file of prompts; give --suite and --prompts-file"
        )
    return load_suite(options.suite), Path(options.prompts_file)


def _drawing(options: SuiteOptions) -> DrawOptions:
    """How images are drawn. Raises EvaluationError for several settings."""
    for name, values in (("guidance_scales", options.guidance_scales), ("steps", options.steps)):
        if len(values) > 1:
            raise EvaluationError(f"{name}: a suite takes one, not {len(values)}; run it once for each")
    scale, steps = next(iter(options.guidance_scales), None), next(iter(options.steps), None)
    return DrawOptions(seed=options.seed, guidance_scale=scale, steps=steps)


def _count(suite: Suite, images: int | None) -> int:
    count = suite.images if images is None else images
    if count < 1 or (suite.most_images and count > suite.most_images):
        most = f" to {suite.most_images}" if suite.most_images else " or more"
        raise EvaluationError(f"images {count}: {suite.name} takes 1{most} of each prompt")
    return count


def _part(prompts: Sequence[SuitePrompt], samples: int | None) -> list[SuitePrompt]:
    """At most `samples` prompts, at even distances, since files are sorted by category."""
    if samples is not None and samples < 1:
        raise EvaluationError(f"samples {samples}: give at least 1")
    if samples is None or samples >= len(prompts):
        return list(prompts)
    return [prompts[place * len(prompts) // samples] for place in range(samples)]


def _folder(model: Path, suite: str, out: str | Path | None) -> Path:
    if out is not None:
        return Path(out)
    if not model.is_dir():
        raise EvaluationError(f"model {model} is not a folder, so its images need one; give --out")
    return model / EVALUATION.parent / suite


def _draw(
    model: str | Path, prompts: Sequence[SuitePrompt], count: int, draw: DrawOptions, folder: Path
) -> tuple[list[DrawnImage], Mapping[str, Any]]:
    """All images, and what the first says of how it was drawn. The model leaves the device's memory afterwards."""
    requests = [
        (prompt, draw.seed + number, Request(prompt.text, replace(draw, seed=draw.seed + number, count=1)))
        for prompt in prompts
        for number in range(count)
    ]
    images: list[DrawnImage] = []
    info: Mapping[str, Any] = {}
    made = drawn(model, [request for *_, request in requests], folder, None, OFF)
    for (prompt, seed, _), image in zip(requests, made, strict=True):
        info = info or {str(name): value for name, value in image.info.items()}
        images.append(DrawnImage(prompt, seed, Path(image.info["file"])))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return images, info


def _by_prompt(images: Sequence[DrawnImage]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for each in images:
        found.setdefault(each.prompt.name, []).append(each.path)
    return found


def _scored(
    scorer: Scorer,
    images: Sequence[DrawnImage],
    made: fingerprint.Fingerprint,
    prompts_sha256: str,
    folder: Path,
) -> ScorerResult:
    info = scorer.info
    saved = SavedScores(
        folder / "scores" / f"{info.kind}-{info.digest[:8]}.jsonl",
        asdict(info) | {"prompts_sha256": prompts_sha256},
    )
    lacking = [scorer.lacks(each.prompt) for each in images]
    able = [each for each, lack in zip(images, lacking, strict=True) if lack is None]
    scored: list[tuple[SuitePrompt, Judgement]] = []
    with progress(info.kind, len(able)) as bar:
        for some in _chunks(able):
            for each, judgement in zip(some, _judgements(scorer, saved, some), strict=True):
                scored.append((each.prompt, judgement))
                bar.advance()
    return ScorerResult(
        info=info,
        figures=scorer.figures,
        fingerprint=replace(made, **info.mark()),
        summary=summary(scored, scorer.figures),
        scored=len(scored),
        unscored=Counter(lack for lack in lacking if lack is not None),
        cut=sum(judgement.cut for _, judgement in scored),
        scores=str(saved.path.relative_to(folder)),
    )


def _judgements(scorer: Scorer, saved: SavedScores, images: Sequence[DrawnImage]) -> list[Judgement]:
    """The scores of images: from the file, else new ones, which are saved."""
    digests = [file_sha256(each.path) for each in images]
    known = [saved.of(each.prompt.name, digest) for each, digest in zip(images, digests, strict=True)]
    todo = [place for place, judgement in enumerate(known) if judgement is None]
    if todo:
        pixels = [np.asarray(Image.open(images[place].path).convert("RGB")) for place in todo]
        new = scorer([images[place].prompt for place in todo], pixels)
        rows = [
            (
                {
                    "prompt": images[place].prompt.name,
                    "text": images[place].prompt.text,
                    "seed": images[place].seed,
                    "file": images[place].path.name,
                    "sha256": digests[place],
                },
                judgement,
            )
            for place, judgement in zip(todo, new, strict=True)
        ]
        saved.add(rows)
        for place, judgement in zip(todo, new, strict=True):
            known[place] = judgement
    return [judgement for judgement in known if judgement is not None]


def _chunks(images: Sequence[DrawnImage]) -> Iterator[list[DrawnImage]]:
    rest = iter(images)
    while some := list(islice(rest, AT_ONCE)):
        yield some
