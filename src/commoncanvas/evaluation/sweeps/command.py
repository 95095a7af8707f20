"""Draw and measure a sweep: every model with every guidance scale, number of steps and sampler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from commoncanvas.core.console import progress
from commoncanvas.core.errors import EvaluationError
from commoncanvas.core.files import from_anywhere, only_one, replace_json
from commoncanvas.core.text import counted
from commoncanvas.engine import Engine, engine_of
from commoncanvas.evaluation.comparing.statistics import read_statistics
from commoncanvas.evaluation.metrics import LEAST_SAMPLES
from commoncanvas.evaluation.prompts import Prompt
from commoncanvas.evaluation.scorers.scorer import check_scorer
from commoncanvas.evaluation.sweeps.card import write_cards
from commoncanvas.evaluation.sweeps.figures import Figures, Reference
from commoncanvas.evaluation.sweeps.prompts import HELDOUT, Wanted, heldout, record, wanted
from commoncanvas.evaluation.sweeps.reference import (
    RealImages,
    Row,
    Statistics,
    digest,
    read_reference,
)
from commoncanvas.evaluation.sweeps.result import Sweep, axes_of
from commoncanvas.evaluation.sweeps.subjects import subjects_of
from commoncanvas.evaluation.sweeps.work import (
    PART,
    Drawing,
    Measures,
    Part,
    Reading,
    Subject,
    forget,
    image_file,
    read_arrays,
    value_file,
)
from commoncanvas.options.evaluate import SWEEP, SweepOptions
from commoncanvas.options.scorers import ScorerOptions
from commoncanvas.provenance.folder import trained_catalogs
from commoncanvas.provenance.record_file import read_provenance

RESULT = "sweep.json"


def sweep(
    models: str | Path | Sequence[str | Path],
    options: SweepOptions = SWEEP,
    *,
    out: str | Path = "sweep",
    catalog: str | Sequence[str] | None = None,
    engine: Engine | str = "local",
    workers: int | None = None,
    device: str = "auto",
) -> Sweep:
    """Draw the same prompts with each model and setting, measure the images, and write sweep.json into `out`.

    Images are PNG files with their settings. Those that are there are not drawn again, so a call that was stopped goes
    on, and a sweep can grow: more models, more settings, more samples. `catalog`: where the first model's catalogs are
    now, as for `evaluate`. `engine`, `workers`: see `engine_of`; with ray, `out` is a folder that all machines share.
    Raises EvaluationError, MetricError, ModelError, CatalogError, EngineError, MissingExtraError.
    """
    paths = [str(models)] if isinstance(models, str | Path) else [str(each) for each in models]
    paths = [from_anywhere(each) for each in dict.fromkeys(paths)]
    moved = [catalog] if isinstance(catalog, str) else list(catalog or ())
    folder = Path(out).absolute()
    measures = Measures(
        tuple(map(_anywhere, options.features)),
        ScorerOptions(
            scorers=tuple(map(_anywhere, options.scorers)), colour_clip=from_anywhere(options.colour_clip)
        ),
        device,
    )
    running = engine_of(engine, workers, device=device)
    forget()
    try:
        prompts, rows = _prompts(paths, options, moved)
        _check_scorers(measures, prompts, options)
        real = _reference(paths, options, moved, rows)
        subjects = subjects_of(paths, options, device)
        if isinstance(real, RealImages) and options.reference == HELDOUT:
            real = RealImages(real.name, real.places, subjects[0].size)
        axes = _axes(options, measures, real, subjects)
        _check_counts(len(prompts), real)
        with only_one(folder):
            record(prompts, folder)
            reference = _measured_reference(folder, real, measures, running)
            _draw(folder, subjects, prompts, measures, running)
            paired = options.reference == HELDOUT
            found = Figures(folder, subjects, prompts, measures, reference, paired).sweep(options, axes)
            replace_json(folder / RESULT, found.to_dict())
            write_cards(found, folder)
        return found
    finally:
        running.close()
        forget()


def _anywhere(spec: str) -> str:
    """NAME:MODEL with a folder's path made absolute, for workers in other folders."""
    name, colon, model = spec.partition(":")
    return f"{name}{colon}{from_anywhere(model)}" if model else spec


def _check_scorers(measures: Measures, prompts: Sequence[Wanted], options: SweepOptions) -> None:
    """Raise EvaluationError or ModelError for a scorer that is not there, or that needs more than these prompts say."""
    for spec in measures.scorers.scorers:
        if lacking := check_scorer(spec, [each.prompt for each in prompts], measures.scorers):
            some = counted(len(lacking), "prompts")
            raise EvaluationError(
                f"scorer {spec}: {some} of {options.prompts} have no {lacking[0]}; leave it out, or give other prompts"
            )


def _prompts(
    models: Sequence[str], options: SweepOptions, moved: Sequence[str]
) -> tuple[list[Wanted], list[Prompt]]:
    if options.prompts == HELDOUT:
        return heldout(models, moved, options.samples, options.seed)
    if options.reference == HELDOUT:
        raise EvaluationError(
            "the reference heldout belongs to the prompts heldout; with other prompts, give --reference, such as a "
            "folder of real images"
        )
    return wanted(options.prompts, options.samples, options.seed), []


def _reference(
    models: Sequence[str], options: SweepOptions, moved: Sequence[str], rows: Sequence[Prompt]
) -> RealImages | Statistics:
    if options.reference != HELDOUT:
        return read_reference(options.reference)
    catalogs = trained_catalogs(models[0], read_provenance(models[0]), moved)
    places = tuple(
        Row(catalogs[each.catalog].uri, catalogs[each.catalog].version, each.row_id) for each in rows
    )
    return RealImages("the prompts' held-out images", places)


def _axes(
    options: SweepOptions, measures: Measures, real: RealImages | Statistics, subjects: Sequence[Subject]
) -> list[tuple[str, str]]:
    """The pairs of figures to plot. Raises EvaluationError for a name that no figure has."""
    networks, scorers = measures.load()
    kinds = ("fd",) if isinstance(real, Statistics) else ("fd", "kd")
    names = [f"{kind}:{network.name}" for network in networks for kind in kinds]
    names += [scorer.info.name for scorer in scorers]
    scales = {setting.guidance_scale for subject in subjects for setting in subject.settings}
    try:
        return axes_of(options.axes, names, len(scales))
    except KeyError as error:
        raise EvaluationError(
            f"axes: no figure is called {error}; there are {', '.join([*names, 'guidance_scale', 'steps'])}"
        ) from error


def _check_counts(samples: int, real: RealImages | Statistics) -> None:
    count = len(real.places) if isinstance(real, RealImages) else LEAST_SAMPLES
    if min(samples, count) < LEAST_SAMPLES:
        raise EvaluationError(
            f"a distance needs at least {LEAST_SAMPLES} drawn and {LEAST_SAMPLES} real images; give more --samples or "
            "a larger reference"
        )


def _measured_reference(
    out: Path, real: RealImages | Statistics, measures: Measures, engine: Engine
) -> Reference:
    networks, _ = measures.load()
    if isinstance(real, Statistics):
        if len(networks) != 1:
            raise EvaluationError(
                f"reference {real.name} has the statistics of one network; give one --features, or real images"
            )
        gaussian = read_statistics(real.path, networks[0]).gaussian
        return Reference(real.name, real.sha256, None, "as in the statistics", {}, gaussian)
    folder, total = out / "reference" / real.key, len(real.places)
    starts = range(0, total, PART)
    with progress("reference", total) as bar:
        for count in engine.map(Reading(folder, real, measures), range(len(starts))):
            bar.advance(count)

    def values(name: str, sha256: str) -> NDArray[Any]:
        return read_arrays(
            value_file(folder, name, sha256, start, min(start + PART, total)) for start in starts
        )

    features = {each.name: values(each.name, each.sha256) for each in networks}
    files = [bytes(row) for row in values("sha256", "")]
    return Reference(real.name, digest(files), total, real.resize, features, None)


def _draw(
    out: Path, subjects: Sequence[Subject], prompts: Sequence[Wanted], measures: Measures, engine: Engine
) -> None:
    parts = [
        Part(number, place, start, min(start + PART, len(prompts)))
        for number, subject in enumerate(subjects)
        for place in range(len(subject.settings))
        for start in range(0, len(prompts), PART)
    ]
    files = (
        image_file(out, subject, setting, number)
        for subject in subjects
        for setting in subject.settings
        for number in range(len(prompts))
    )
    there = [file.exists() for file in files]
    with progress("sweep", len(there), completed=sum(there)) as bar:
        for each in engine.map(Drawing(out, subjects, parts, prompts, measures), range(len(parts))):
            bar.advance(each)
