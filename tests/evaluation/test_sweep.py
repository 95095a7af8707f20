"""Sweeps over a real (tiny, untrained) diffusers folder: figures, what is drawn again, and what is not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from commoncanvas.catalog import Catalog
from commoncanvas.cli import app
from commoncanvas.core.errors import EvaluationError, MetricError
from commoncanvas.evaluation import evaluate, metrics
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.scorers.scorer import load_scorer, scores_of
from commoncanvas.evaluation.sweeps.command import sweep
from commoncanvas.evaluation.sweeps.prompts import read_source, wanted
from commoncanvas.evaluation.sweeps.result import Sweep
from commoncanvas.options.evaluate import SweepOptions
from commoncanvas.pages.sweep_page import write_sweep_page
from tests.captioning.models import llava
from tests.evaluation import scorer_models
from tests.evaluation.killable_sweep import OPTIONS
from tests.evaluation.test_suites import published
from tests.pages.test_report import CHROMIUM, FLAGS

from .conftest import HELDOUT, NAMES, SIZE, decoded

FD = "fd:efficientnet-lite0"


class Pickled:
    """An engine that sends the work through pickle, as Ray does."""

    shares_memory = False

    def map(self, function: Callable[[int], Any], items: Sequence[int]) -> Generator[Any]:
        for item in items:
            yield pickle.loads(pickle.dumps(function))(item)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def other(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with other weights in its U-Net."""
    from diffusers import UNet2DConditionModel

    copy = Path(shutil.copytree(model, tmp_path_factory.mktemp("other") / "other"))
    unet = UNet2DConditionModel.from_pretrained(copy / "unet")
    with torch.no_grad():
        for weight in unet.parameters():
            weight.mul_(1.3)
    unet.save_pretrained(copy / "unet")
    return copy


@pytest.fixture(scope="module")
def swept(model: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return sweep(
        [model, other], OPTIONS, out=tmp_path_factory.mktemp("out") / "sweep", engine=Pickled(), device="cpu"
    )


def images(found: Sweep, number: int) -> np.ndarray:
    return np.stack([decoded(path) for path in sorted(Path(found.points[number].folder).glob("*.png"))])


def changed(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.png")}


def test_every_setting_of_every_model_has_its_figures_with_a_fingerprint(swept: Sweep) -> None:
    assert [(point.model, point.guidance_scale) for point in swept.points] == [
        ("model", 1.0), ("model", 2.0), ("other", 1.0), ("other", 2.0),
    ]  # fmt: skip
    assert swept.samples == len(HELDOUT) and swept.axes == (("guidance_scale", FD),)
    written = json.loads((Path(swept.out) / "sweep.json").read_text())
    assert written == json.loads(json.dumps(swept.to_dict()))
    marks = [point.figures[FD].fingerprint for point in swept.points]
    assert marks[0] == marks[2] and marks[0].digest != marks[1].digest and marks[1].guidance_scale == 2
    assert not any("not measured in the same way" in line for line in swept.notes())
    card = yaml.safe_load((Path(swept.out) / "other.model-index.yaml").read_text())["model-index"][0]
    assert len(card["results"]) == 2 and card["results"][0]["dataset"]["args"]["digest"] == marks[0].digest


@pytest.mark.slow
def test_the_figures_are_those_of_the_images_on_disk_and_of_evaluate(
    swept: Sweep, model: Path, tmp_path: Path
) -> None:
    alone = evaluate(
        str(model), samples=len(HELDOUT), guidance_scale=2, steps=1, out=str(tmp_path), device="cpu"
    )
    assert alone.heldout is not None
    point = swept.points[1]
    assert point.figures[FD].value == pytest.approx(alone.heldout.fd, rel=1e-4)
    assert point.figures["kd:efficientnet-lite0"].value == pytest.approx(alone.heldout.kd, rel=1e-4)
    real = np.stack([decoded(tmp_path / each.real_file) for each in alone.heldout_samples])
    extract = load_network(device="cpu")
    assert metrics.frechet_distance(extract(images(swept, 1)), extract(real)) == pytest.approx(
        point.figures[FD].value, rel=1e-4
    )


def test_the_prompts_that_are_furthest_apart_are_those_whose_features_are(swept: Sweep) -> None:
    assert {one.prompt for one in swept.apart} == {NAMES[code] for code in HELDOUT}
    distances = [one.distance for one in swept.apart]
    assert distances == sorted(distances, reverse=True) and distances[0] > 0


@pytest.mark.slow
def test_a_second_call_draws_only_what_is_missing_or_was_changed(
    swept: Sweep, model: Path, other: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(swept.out, tmp_path / "sweep"))
    point = next(out.glob("model-*/guidance-2-*"))
    (point / "000001.png").unlink()
    Image.new("RGB", (SIZE, SIZE)).save(point / "000002.png")
    before = changed(out)
    again = sweep([model, other], OPTIONS, out=out, device="cpu")
    after = changed(out)
    touched = {Path(path).name for path in after if after[path] != before.get(path)}
    assert touched == {"000001.png", "000002.png"}
    assert [p.figures for p in again.points] == [p.figures for p in swept.points]
    more = sweep(model, SweepOptions(guidance_scales=(1.0, 3.0), steps=(1,)), out=out, device="cpu")
    assert more.points[0].figures == swept.points[0].figures and len(more.points) == 2
    with pytest.raises(
        EvaluationError, match="names other prompts or seeds than this sweep; choose another --out"
    ):
        sweep(model, SweepOptions(seed=5, steps=(1,)), out=out, device="cpu")


@pytest.mark.slow
def test_statistics_in_a_file_give_the_distance_of_the_images_they_are_from(
    swept: Sweep, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "real"
    folder.mkdir()
    for number, image in enumerate(images(swept, 2)):
        Image.fromarray(image).save(folder / f"{number}.png")
    (tmp_path / "prompts.txt").write_text("red apple\nfull moon\nfox\n")
    features = load_network(device="cpu")(images(swept, 2)).astype(np.float64)
    np.savez(tmp_path / "real.npz", mu=features.mean(0), sigma=np.cov(features, rowvar=False))
    found = {
        reference: sweep(
            model,
            SweepOptions(
                prompts=str(tmp_path / "prompts.txt"),
                reference=str(tmp_path / reference),
                steps=(1,),
                samples=6,
            ),
            out=tmp_path / "sweep",
            device="cpu",
        )
        .points[0]
        .figures
        for reference in ("real", "real.npz")
    }
    assert found["real.npz"][FD].value == pytest.approx(found["real"][FD].value, rel=1e-3)
    assert set(found["real.npz"]) == {FD} and set(found["real"]) == {FD, "kd:efficientnet-lite0"}
    assert found["real"][FD].fingerprint.images_per_prompt == 2
    np.savez(tmp_path / "real.npz", mu=np.zeros(3), sigma=np.eye(3))
    before = changed(tmp_path / "sweep")
    with pytest.raises(MetricError, match=r"real\.npz has 3 features, efficientnet-lite0 has 1280"):
        sweep(
            model,
            SweepOptions(
                prompts=str(tmp_path / "prompts.txt"),
                reference=str(tmp_path / "real.npz"),
                steps=(1,),
                samples=12,
            ),
            out=tmp_path / "sweep",
            device="cpu",
        )
    assert changed(tmp_path / "sweep") == before, "it is said before anything is drawn"


@pytest.mark.slow
def test_a_sweep_scores_with_every_scorer_that_its_prompts_allow(model: Path, tmp_path: Path) -> None:
    vlm, clip = llava(tmp_path / "vlm", scorer_models.ANSWERS), scorer_models.clip(tmp_path / "clip")
    real = tmp_path / "real"
    real.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 20), (number * 80, 0, 0)).save(real / f"{number}.png")
    options = SweepOptions(
        prompts=f"geneval2:{published('geneval2', tmp_path)}",
        reference=str(real),
        steps=(1,),
        scorers=(f"vqa:{vlm}", f"soft-tifa:{vlm}", f"clip:{clip}"),
    )
    found = sweep(model, options, out=tmp_path / "sweep", engine=Pickled(), device="cpu")
    (point,) = found.points
    assert found.axes[0] == ("vqa:vlm", FD)
    assert {"VQAScore", "Soft-TIFA", "CLIP score"} <= set(found.table()[0])
    for spec in options.scorers:
        scorer = load_scorer(spec, device="cpu")
        prompts = {each.prompt.name: each for each in wanted(options.prompts, None, 0)}
        drawn = dict(zip(prompts, images(found, 0), strict=True))
        scores = scores_of(scorer, [prompts[name].prompt for name in drawn], [*drawn.values()])
        figure = point.figures[scorer.info.name]
        assert figure.value == pytest.approx(scores.mean(), rel=1e-5)
        assert figure.fingerprint.scorer_revision == scorer.info.sha256
        assert figure.fingerprint.scorer_settings == scorer.info.settings
    with pytest.raises(
        EvaluationError, match=r"scorer detector:.*: 2 prompts of geneval2:.* have no objects"
    ):
        sweep(model, replace(options, scorers=(f"detector:{clip}",), colour_clip=clip), out=tmp_path / "x")


def said(source: str) -> list[tuple[str, str]]:
    return [(each.name, each.text) for each in read_source(source)]


def test_published_prompt_files_are_read_as_they_are(tmp_path: Path) -> None:
    coco = tmp_path / "captions.json"
    captions = [(7, 2, "A later caption."), (7, 1, "A dog\n runs."), (8, 3, "A cat.")]
    coco.write_text(
        json.dumps(
            {"images": [], "annotations": [{"image_id": i, "id": n, "caption": c} for i, n, c in captions]}
        )
    )
    assert said(f"coco:{coco}") == [("7", "A dog runs."), ("8", "A cat.")]
    parti = tmp_path / "PartiPrompts.tsv"
    parti.write_text(
        'Prompt\tCategory\tChallenge\tNote\nbond\tAbstract\tBasic\t\n"quoted" words\tArts\tBasic\tx\n'
    )
    assert said(f"parti:{parti}") == [("00000", "bond"), ("00001", '"quoted" words')]
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"prompt {number}\n" for number in range(20)))
    few, many = wanted(str(lines), 5, 3), wanted(str(lines), 15, 3)
    assert many[:5] == few and len({each.seed for each in wanted(str(lines), 60, 3)}) == 60
    for source, message in (
        (f"coco:{lines}", "lines.txt is not COCO's file of captions"),
        (f"parti:{lines}", "line 1: the columns must begin with Prompt"),
        (str(tmp_path / "none.txt"), "none.txt can't be read"),
    ):
        with pytest.raises(EvaluationError, match=message):
            read_source(source)
    with pytest.raises(
        EvaluationError, match=r"samples 30: .* has 20 prompts; give at most so many, or a multiple"
    ):
        wanted(str(lines), 30, 3)


def test_the_command_draws_a_sweep_when_it_has_several_settings(
    swept: Sweep, model: Path, catalog: Catalog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(swept.out, tmp_path / "sweep")
    words = [
        "evaluate",
        str(model),
        "--guidance-scales",
        "1",
        "2",
        "--steps",
        "1",
        "--out",
        str(out),
        "--json",
    ]
    app(words, result_action="return_value")
    told = json.loads(capsys.readouterr().out)
    assert [point["guidance_scale"] for point in told["points"]] == [1, 2]
    for more, message in (
        (["--scorers", "clip"], "scorer 'clip' must be KIND:MODEL"),
        (["--axes", "fid,kd"], "axes: no figure is called 'fid'; there are fd:efficientnet-lite0"),
        (["--prompts", "p.txt"], "the reference heldout belongs to the prompts heldout"),
        (["--captioner", "xs"], "give --scorers captioner:xs"),
    ):
        with pytest.raises(EvaluationError, match=message):
            app([*words, *more], exit_on_error=False, result_action="return_value")


@pytest.mark.slow
def test_killed_at_any_image_it_goes_on_and_ends_as_one_never_killed(model: Path, tmp_path: Path) -> None:
    whole = sweep(model, OPTIONS, out=tmp_path / "whole", device="cpu")
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.evaluation.killable_sweep", str(model), str(out)]
    for least in (2, 6):
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        while process.poll() is None and len(changed(out)) < least:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        there = changed(out)
        assert least <= len(there) < 2 * len(HELDOUT)
        for path in there:
            decoded(Path(path))
    found = sweep(model, OPTIONS, out=out, device="cpu")
    after = changed(out)
    assert all(after[path] == stamp for path, stamp in there.items())
    assert [point.figures for point in found.points] == [point.figures for point in whole.points]
    for number in range(2):
        assert np.array_equal(images(found, number), images(whole, number))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1200, 390])
def test_chromium_shows_curves_and_images_without_an_error(swept: Sweep, tmp_path: Path, width: int) -> None:
    page, picture = tmp_path / "sweep.html", tmp_path / "page.png"
    write_sweep_page(swept, page)
    command = [
        str(CHROMIUM),
        *FLAGS,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},2400",
    ]
    ran = subprocess.run(
        [*command, f"--screenshot={picture}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in ran.stderr, ran.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    for red, green, blue in ((11, 107, 80), (194, 87, 26)):
        near = np.abs(pixels - (red, green, blue)).max(2) < 12
        assert near.sum() > 100, "a model's curve is not to be seen"
    text = page.read_text()
    assert "Where the models differ most" in text and "http" not in text.replace("http://www.w3.org", "")
