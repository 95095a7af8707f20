"""`evaluate --suite` as a whole: images and scores of a killed run are kept, and every figure says how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commoncanvas.cli import main
from commoncanvas.core.errors import EvaluationError
from commoncanvas.evaluation.scorers.vqa import VQAScore
from commoncanvas.evaluation.suites import command
from commoncanvas.evaluation.suites.command import evaluate_suite
from commoncanvas.options.evaluate import SuiteOptions
from tests.captioning.models import llava
from tests.evaluation import scorer_models as models
from tests.evaluation.test_suites import published

DRAW: dict[str, Any] = {"steps": (2,), "seed": 5}


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> str:
    return llava(tmp_path_factory.mktemp("vlm") / "llava", models.ANSWERS)


def rows(folder: Path) -> list[dict[str, Any]]:
    (path,) = (folder / "scores").glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()[1:]]


def test_a_stopped_run_goes_on_where_it_was(
    model: Path, vlm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = SuiteOptions(
        suite="geneval2",
        prompts_file=str(published("geneval2", tmp_path)),
        scorers=(f"soft-tifa:{vlm}",),
        images=2,
        **DRAW,
    )
    monkeypatch.setattr(command, "AT_ONCE", 1)
    scorer, calls = command.load_scorer(f"soft-tifa:{vlm}", options), 0

    class Dies:
        info, figures, lacks = scorer.info, scorer.figures, staticmethod(scorer.lacks)

        def __call__(self, prompts: Any, images: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return scorer(prompts, images)

    monkeypatch.setattr(command, "load_scorer", lambda *_: Dies())
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate_suite(model, options, out=out)
    assert len(rows(out)) == 2 and not (out / "results.json").exists()
    drawn = {path: path.stat().st_mtime_ns for path in (out / "drawn").iterdir()}
    (scores,) = (out / "scores").iterdir()
    scores.write_bytes(scores.read_bytes() + b'{"prompt": "0000')  # half a line, as a kill leaves it
    made = evaluate_suite(model, options, out=out)
    assert calls == 5 and len(rows(out)) == 4, "two images were scored already"
    assert {path: path.stat().st_mtime_ns for path in (out / "drawn").iterdir()} == drawn
    again = evaluate_suite(model, options, out=out)
    assert calls == 5 and again.scorers == made.scorers

    assert made.images == 2 and made.seed == 5 and made.settings["steps"] == 2
    (found,) = made.scorers
    assert found.scored == 4 and set(found.summary.parts) == {"skill"}
    assert found.summary.categories["atoms"]["03"]["soft_tifa_gm"].values == 2
    written = json.loads((out / "results.json").read_text())
    own = written["scorers"][0]
    assert own["scorer"]["sha256"] == found.info.sha256 and own["fingerprint"]["images_per_prompt"] == 2
    means = [row["figures"]["soft_tifa_am"] for row in rows(out)]
    assert own["figures"]["soft_tifa_am"]["mean"] == pytest.approx(sum(means) / 4)
    assert written["prompts_sha256"] and written["model_sha256"]
    assert "soft-tifa by" in str(made) and "2 prompts" in str(made)


def test_scores_of_other_prompts_or_settings_are_not_used_again(
    model: Path, vlm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = published("drawbench", tmp_path)
    options = SuiteOptions(
        suite="drawbench", prompts_file=str(file), scorers=(f"vqa:{vlm}",), samples=2, **DRAW
    )
    out, scored = tmp_path / "out", 0
    whole = VQAScore.__call__

    def counting(self: Any, prompts: Any, images: Any) -> Any:
        nonlocal scored
        scored += len(images)
        return whole(self, prompts, images)

    monkeypatch.setattr(VQAScore, "__call__", counting)
    first = evaluate_suite(model, options, out=out)
    assert (first.prompts, first.all_prompts, scored) == (2, 3, 2)
    assert "2 prompts of 3: not the whole benchmark" in " ".join(str(first).split())
    evaluate_suite(model, options, out=out)
    assert scored == 2
    file.write_text(file.read_text().replace("Colors", "Colours"))
    evaluate_suite(model, options, out=out)
    assert scored == 4


def test_what_a_suite_can_not_do_is_said_before_anything_is_drawn(
    model: Path, vlm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    parti, dpg = published("parti", tmp_path), published("dpg", tmp_path)
    out = tmp_path / "out"

    def said(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["commoncanvas", "evaluate", str(model), *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 2 and not out.exists()
        return " ".join(capsys.readouterr().err.split())

    suite = ("--suite", "parti", "--prompts-file", str(parti), "--out", str(out))
    assert "have no questions" in said(*suite, "--scorer", f"soft-tifa:{vlm}")
    assert "must be KIND:MODEL" in said(*suite, "--scorer", "fid:x")
    assert "scorer nowhere/x: there is no such folder" in said(*suite, "--scorer", "clip:nowhere/x")
    assert "give the file HPS_v2.1_compressed.pt" in said(*suite, "--scorer", "hpsv2:v9")
    assert "images 0: parti takes 1 or more" in said(*suite, "--images", "0")
    assert "samples 0: give at least 1" in said(*suite, "--samples", "0")
    assert "a suite takes no --html" in said(*suite, "--html", "x.html")
    assert "there is no such file" in said(
        "--suite", "parti", "--prompts-file", "none.tsv", "--out", str(out)
    )
    assert "give --suite and --prompts-file" in said("--suite", "parti", "--out", str(out))
    assert "give --suite too" in said("--prompts-file", str(parti))
    assert "dpg takes 1 to 4" in said(
        "--suite", "dpg", "--prompts-file", str(dpg), "--images", "5", "--out", str(out)
    )


def test_a_hub_id_needs_a_folder_for_its_images(tmp_path: Path) -> None:
    options = SuiteOptions(suite="parti", prompts_file=str(published("parti", tmp_path)))
    with pytest.raises(EvaluationError, match="give --out"):
        evaluate_suite("somebody/model", options)
