"""`compare` on folders of images and on files of statistics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from commoncanvas.cli import app
from commoncanvas.core.errors import MetricError
from commoncanvas.evaluation.comparing.command import compare
from commoncanvas.evaluation.comparing.statistics import read_statistics
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.scorers.scorer import load_scorer, scores_of
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.options.scorers import ScorerOptions
from tests.evaluation import scorer_models


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """120 and 130 small images; the first have texts."""
    folder = tmp_path_factory.mktemp("sets")
    random = np.random.default_rng(0)
    for name, count, dark in (("made", 120, 60), ("real", 130, 0)):
        (folder / name).mkdir()
        for number in range(count):
            coarse = random.integers(dark, 256, (4, 4, 3), dtype=np.uint8)
            image = Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{number:03}.png")
            if name == "made":
                (folder / name / f"{number:03}.txt").write_text(
                    "a b" if number % 2 else "c", encoding="utf-8"
                )
    return folder / "made", folder / "real"


def test_each_figure_has_its_fields_name_and_an_interval(folders: tuple[Path, Path], clip: Path) -> None:
    found = compare(*folders, features=f"clip-vit-b-32:{clip}", device="cpu")
    assert {each.name for each in found.figures} >= {"CLIP-FID", "CLIP-KID", "Coverage"}
    for each in found.figures:
        if each.metric != "fd-infinity":
            assert each.low is not None and each.high is not None and each.low <= each.value <= each.high
    assert found.generated.images == 120 and found.real.images == 130 and found.few is None
    assert not found.left_out, "a metric of another network is not missed"
    assert json.loads(json.dumps(found.to_dict()))["values"] == found.values()
    assert "CLIP-FID" in str(found) and "lower is better" in str(found)


def some_of(folder: Path, count: int, to: Path) -> Path:
    for path in sorted(folder.glob("*.png"))[:count]:
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_too_few_images_are_refused_and_a_reason_is_kept(
    folders: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    spec, few = f"clip-vit-b-32:{clip}", some_of(folders[0], 8, tmp_path)
    with pytest.raises(
        MetricError, match=r"CLIP-FID: .* has 8 images, 9 are needed on clip-vit-b-32"
    ) as caught:
        compare(few, folders[1], features=spec, metrics=["fd"], device="cpu")
    assert "\n" not in str(caught.value) and "--allow-few" in str(caught.value)
    allowed = compare(few, folders[1], features=spec, metrics=["fd"], allow_few="as in table 2", device="cpu")
    assert allowed.values()["fd"] > 0 and allowed.few == "as in table 2" and "as in table 2" in str(allowed)
    with pytest.raises(MetricError, match=r"CLIP-FID: .*; .*Recall: "):
        compare(few, folders[1], features=spec, device="cpu")


def test_without_names_a_metric_that_needs_more_images_is_left_out(
    folders: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    few = some_of(folders[0], 60, tmp_path)
    found = compare(few, folders[1], features=f"clip-vit-b-32:{clip}", device="cpu")
    assert {"fd", "kd"} <= set(found.values()) and "60 images, 100 are needed" in found.left_out["Recall"]
    assert found.few is None


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        (["fid"], "fid is defined on inception-v3, .* its formula is the metric fd"),
        (["psnr"], "'psnr' is unknown; give some of fd"),
        (["is"], "is defined on inception-v3"),
        (["cmmd"], "is defined on clip-vit-l-14-336"),
    ],
)
def test_a_metric_has_its_name_only_where_it_is_defined(
    folders: tuple[Path, Path], clip: Path, metrics: list[str], says: str
) -> None:
    with pytest.raises(MetricError, match=says):
        compare(*folders, features=f"clip-vit-b-32:{clip}", metrics=metrics, device="cpu")


def test_statistics_are_kept_and_used_again_until_an_image_changes(
    folders: tuple[Path, Path], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from commoncanvas.evaluation.networks.clip import Clip

    spec, cache = f"clip-vit-b-32:{clip}", tmp_path / "cache"
    real = Path(shutil.copytree(folders[1], tmp_path / "real"))
    first = compare(folders[0], real, features=spec, cache=cache, device="cpu")
    kept = sorted(cache.iterdir())
    assert len(kept) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Clip, "forward", lambda *_: pytest.fail("computed again"))
        again = compare(folders[0], real, features=spec, cache=cache, device="cpu")
    assert again.values() == pytest.approx(first.values())
    (real / "000.png").write_bytes((real / "001.png").read_bytes())
    other = compare(folders[0], real, features=spec, cache=cache, device="cpu")
    assert other.real.images_sha256 != first.real.images_sha256 and len(list(cache.iterdir())) == 3
    by_file = compare(folders[0], kept[0], features=spec, metrics=["kd"], device="cpu")
    assert by_file.real.images in (120, 130)
    with pytest.raises(MetricError, match=r"is of clip-vit-b-32 \(sha256 .* not of efficientnet-lite0"):
        compare(folders[0], kept[0], device="cpu")


def test_files_of_clean_fid_are_read(folders: tuple[Path, Path], clip: Path, tmp_path: Path) -> None:
    network = load_network(spec := f"clip-vit-b-32:{clip}", "cpu")
    features = network.of_files(sorted(folders[1].glob("*.png")))
    np.savez_compressed(tmp_path / "real.npz", mu=features.mean(axis=0), sigma=np.cov(features, rowvar=False))
    np.savez_compressed(tmp_path / "real_kid.npz", feats=features)
    whole = compare(*folders, features=spec, metrics=["fd", "kd"], device="cpu").values()
    by_mean = compare(folders[0], tmp_path / "real.npz", features=spec, metrics=["fd"], device="cpu")
    assert by_mean.values()["fd"] == pytest.approx(whole["fd"], abs=1e-5) and by_mean.real.images is None
    by_features = compare(folders[0], tmp_path / "real_kid.npz", features=spec, metrics=["kd"], device="cpu")
    assert by_features.values()["kd"] == pytest.approx(whole["kd"], abs=1e-6)
    with pytest.raises(MetricError, match=r"needs features \(feats\), which .*real.npz lacks"):
        compare(folders[0], tmp_path / "real.npz", features=spec, metrics=["kd"], device="cpu")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"mu": np.zeros(8), "sigma": np.zeros((3, 3))}, "don't fit"),
        ({"mu": np.zeros(5), "sigma": np.zeros((5, 5))}, "has 5 features, clip-vit-b-32 has 8"),
        ({"other": np.zeros(8)}, "neither mu and sigma nor feats"),
        ({"feats": np.zeros((1, 8))}, "too few"),
        ({"feats": np.array([{}])}, "can't be read as statistics"),
        ({}, "can't be read as statistics|neither"),
    ],
)
def test_a_file_that_is_no_statistics_is_named(
    clip: Path, tmp_path: Path, arrays: dict[str, np.ndarray], says: str
) -> None:
    path = tmp_path / "x.npz"
    if arrays:
        np.savez(path, **arrays)  # type: ignore[arg-type]
    else:
        path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(MetricError, match=says) as caught:
        read_statistics(path, load_network(f"clip-vit-b-32:{clip}", "cpu"))
    assert "\n" not in str(caught.value)


def test_scorers_score_each_image_with_the_text_beside_it(
    folders: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    scored = scorer_models.clip(tmp_path / "scoring")
    options = ScorerOptions(scorers=(f"clip:{scored}", f"pickscore:{scored}"))
    found = compare(*folders, features=f"clip-vit-b-32:{clip}", metrics=["kd"], scorers=options, device="cpu")
    files = sorted(folders[0].glob("*.png"))
    prompts = [SuitePrompt("", path.with_suffix(".txt").read_text()) for path in files]
    scorer = load_scorer(options.scorers[0], device="cpu")
    alone = scores_of(scorer, prompts, [np.asarray(Image.open(path).convert("RGB")) for path in files])
    _, score, pick = found.figures
    assert score.value == pytest.approx(alone.mean(), rel=1e-6)
    assert (score.metric, score.name) == ("clip:scoring", "CLIP score (scoring)")
    assert score.low is not None and score.low <= score.value and pick.name == "PickScore (scoring)"
    assert found.to_dict()["scorers"][0]["sha256"] == scorer.info.sha256
    for wrong, generated, says in (
        (f"clip:{scored}", folders[1], r"000\.txt is missing: scorers need the text of each image"),
        (f"soft-tifa:{scored}", folders[0], "texts have no questions"),
        (f"clip:{scored}", tmp_path / "x.npz", r"x\.npz has no images to score"),
    ):
        with pytest.raises(MetricError, match=says):
            compare(generated, folders[1], scorers=ScorerOptions(scorers=(wrong,)), device="cpu")


def test_the_command_prints_json(
    folders: tuple[Path, Path], clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["compare", *map(str, folders), "--metrics", "kd", "coverage", "--json"]
    words += ["--features", f"clip-vit-b-32:{clip}"]
    app(words, exit_on_error=False, print_error=False, result_action="return_value")
    found = json.loads(capsys.readouterr().out)
    assert set(found["values"]) == {"kd", "coverage"} and found["network"] == "clip-vit-b-32"


def test_no_reason_makes_a_figure_of_almost_nothing(
    folders: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes((folders[0] / f"{number:03}.png").read_bytes())
    with pytest.raises(MetricError, match="Precision: can't be computed of 3 images; 6 are the least"):
        compare(
            tmp_path,
            folders[1],
            features=f"clip-vit-b-32:{clip}",
            metrics=["precision"],
            allow_few="a test",
            device="cpu",
        )
