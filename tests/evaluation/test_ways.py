"""Which way to evaluate the command's words ask for, and which words don't fit together."""

from __future__ import annotations

import pytest

from commoncanvas.cli import app, main
from commoncanvas.cli.evaluate import evaluate as command
from commoncanvas.evaluation import ways
from commoncanvas.evaluation.ways import OWN, SUITE, SWEEP, Asked
from commoncanvas.options.evaluate import SuiteOptions, SweepOptions

COCO = "--prompts coco:captions_val2014.json --reference coco/val2014"
SUITE_OF = "--suite geneval --prompts-file F"


class Stopped(Exception):
    """Instead of evaluating."""


def asked(words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Asked]:
    """What the command line asks for."""

    def stop(models: list[str], options: Asked) -> None:
        raise Stopped(models, options)

    monkeypatch.setattr(ways, "evaluate_as_asked", stop)
    with pytest.raises(Stopped) as stopped:
        app(["evaluate", *words.split()], exit_on_error=False, print_error=False)
    models, options = stopped.value.args
    return models, options


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("m", OWN),
        ("m --steps 4 --guidance-scale 2 --samples 8 --features sscd --captioner c --html p.html", OWN),
        ("m --catalog a.lance --seed 3 --out o", OWN),
        ("m n", SWEEP),
        (f"m n {COCO} --guidance-scales 1 2 3 5 7 --samples 30000", SWEEP),
        ("m --steps 20 50", SWEEP),
        ("m --features sscd inception-v3", SWEEP),
        ("m --scorers clip:c vqa:v --engine ray --workers 8", SWEEP),
        ("m --axes guidance_scale,kd", SWEEP),
        (f"m {SUITE_OF} --scorer vqa:q --scorer detector:d --colour-clip c --images 2", SUITE),
        (f"m {SUITE_OF} --guidance-scales 4 --steps 20 --samples 9 --seed 1 --out o", SUITE),
    ],
)
def test_the_words_choose_the_way(words: str, way: ways.Way, monkeypatch: pytest.MonkeyPatch) -> None:
    models, options = asked(words, monkeypatch)
    assert ways._way(models, options) is way


def test_options_reach_their_way_as_they_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    models, options = asked(f"m n {COCO} --guidance-scales 1 2.5 --scorer clip:c", monkeypatch)
    assert models == ["m", "n"]
    assert options.of(SweepOptions) == SweepOptions(
        prompts="coco:captions_val2014.json",
        reference="coco/val2014",
        guidance_scales=(1, 2.5),
        scorers=("clip:c",),
    )
    _, options = asked(f"m {SUITE_OF} --scorers vqa:q pickscore:p --seed 4", monkeypatch)
    assert options.of(SuiteOptions) == SuiteOptions(
        suite="geneval", prompts_file="F", scorers=("vqa:q", "pickscore:p"), seed=4
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (f"m n {SUITE_OF}", "a suite takes one model and one setting, not 2 models; run it once for each"),
        (f"m {SUITE_OF} --steps 1 2", "not several values of --steps"),
        (
            f"m {SUITE_OF} --html p.html --axes clip,fd",
            "a suite takes no --axes, --html (for a sweep); leave",
        ),
        (f"m {SUITE_OF} --captioner c", "no --captioner (for one model on its own prompts)"),
        ("m --images 3 --prompts-file F", "--images, --prompts-file: only for a suite; give --suite too"),
        ("m --engine ray", "one model on its own prompts takes no --engine (for a sweep); leave that out"),
        ("m --colour-clip c", "takes no --colour-clip (for a sweep or a suite)"),
        ("m n --captioner xs", "a sweep takes no --captioner; give --scorers captioner:xs"),
    ],
)
def test_words_that_do_not_fit_are_refused_in_one_line(
    words: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["commoncanvas", "evaluate", *words.split()])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert says in " ".join(said.split())


def test_every_option_of_the_command_belongs_to_a_way() -> None:
    found = {
        argument.names[0].removeprefix("--").replace("-", "_")
        for argument in app["evaluate"].assemble_argument_collection()
        if argument.show and argument.names[0].startswith("--")
    }
    assert app["evaluate"].default_command is command
    assert found - {"model", "json"} == OWN.takes | SWEEP.takes | SUITE.takes
    assert set(Asked().values()) == found - {"model", "json"}
