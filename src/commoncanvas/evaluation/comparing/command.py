"""Compare generated images with real ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from commoncanvas.core.console import progress
from commoncanvas.core.errors import MetricError
from commoncanvas.evaluation.comparing.metric import ALIASES, METRICS, Metric, Pair
from commoncanvas.evaluation.comparing.result import Comparison, Figure, Side
from commoncanvas.evaluation.comparing.scoring import prompts_of, score
from commoncanvas.evaluation.comparing.statistics import ImageSet, read_set
from commoncanvas.evaluation.fingerprint import versions
from commoncanvas.evaluation.image_files import images_in
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.networks.load import DEFAULT
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.evaluation.scorers.scorer import ScorerInfo, check_scorer, load_scorer
from commoncanvas.evaluation.suite_prompt import SuitePrompt
from commoncanvas.options.scorers import DEFAULTS, ScorerOptions


def compare(
    generated: str | Path,
    real: str | Path,
    *,
    features: str = DEFAULT,
    metrics: Sequence[str] = (),
    scorers: ScorerOptions = DEFAULTS,
    allow_few: str | None = None,
    cache: str | Path | None = None,
    device: str = "auto",
) -> Comparison:
    """Measure how far generated images are from real ones. Each is a folder of images or a .npz file of statistics.

    `features` is the network, see `load_network`. `metrics` are names of METRICS; default: all that the network and the
    images allow. A metric that is asked for is refused if there are too few images, unless `allow_few` states a reason;
    the result has it. `scorers` score each generated image with its text, from the file with the ending .txt beside it.
    `cache` is a folder for statistics, which are used again if images and network are the same.

    Raises MetricError, EvaluationError, ModelError, ImageError, and MissingExtraError if a package is missing.
    """
    paths = (Path(generated), Path(real))
    prompts = _prompts(paths[0], scorers)
    network = load_network(features, device)
    asked = [_known(name, network) for name in metrics]
    with progress("compare", sum(len(images_in(path)) for path in paths if path.is_dir())) as bar:
        kept = Path(cache) if cache else None
        made, true = (read_set(path, network, kept, bar.advance) for path in paths)
    pair = Pair(network, made, true)
    figures, left_out = _distances(pair, asked, bool(allow_few))
    few_used = any(_too_few(METRICS[each.metric], pair) for each in figures)
    scores, infos = _scores(made, prompts, scorers, device)
    if not figures and not scores:
        raise MetricError("; ".join(f"{title}: {reason}" for title, reason in left_out.items()))
    return Comparison(
        network=network.name,
        network_sha256=network.sha256,
        resize=network.resize,
        generated=_side(made),
        real=_side(true),
        figures=(*figures, *scores),
        scorers=infos,
        left_out=left_out,
        few=allow_few if few_used else None,
        versions=versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _distances(pair: Pair, asked: Sequence[str], few: bool) -> tuple[list[Figure], dict[str, str]]:
    """The figures that are asked for, else all that there can be; and why others have no value. With `few`, too few
    images will do. Raises MetricError if one that is asked for has no value.
    """
    figures: list[Figure] = []
    left_out: dict[str, str] = {}
    for name in asked or METRICS:
        metric = METRICS[name]
        title = metric.name_on(pair.network.name)
        reason = _unfit(metric, pair) or (None if few else _too_few(metric, pair))
        if reason is None:
            value, (low, high) = metric.compute(pair)
            figures.append(Figure(name, title, value, low, high, metric.better))
        elif asked:
            raise MetricError(f"{title}: {reason}")
        elif metric.on(pair.network.name):
            left_out[title] = reason
    return figures, left_out


def _scores(
    made: ImageSet, prompts: Sequence[SuitePrompt], scorers: ScorerOptions, device: str
) -> tuple[list[Figure], tuple[ScorerInfo, ...]]:
    """The mean score by each scorer, and what the scorers are."""
    figures, infos = [], []
    for spec in scorers.scorers:
        scorer = load_scorer(spec, scorers, device)
        with progress(scorer.info.kind, len(prompts)) as bar:
            figures.append(score(scorer, made, prompts, bar.advance))
        infos.append(scorer.info)
    return figures, tuple(infos)


def _prompts(generated: Path, scorers: ScorerOptions) -> list[SuitePrompt]:
    """The texts of the generated images, if they are scored. Raises MetricError unless each scorer can read them."""
    if not scorers.scorers:
        return []
    if not generated.is_dir():
        raise MetricError(
            f"{generated} has no images to score; give the folder of images, or leave scorers out"
        )
    prompts = prompts_of(images_in(generated))
    for spec in scorers.scorers:
        if lacking := check_scorer(spec, prompts, scorers):
            raise MetricError(f"scorer {spec}: texts have no {lacking[0]}; leave it out")
    return prompts


def _known(name: str, network: Network) -> str:
    found, only = ALIASES.get(name, (name, ()))
    if found not in METRICS:
        raise MetricError(f"metric {name!r} is unknown; give some of {', '.join(METRICS)}")
    if only and network.name not in only:
        raise MetricError(
            f"{name} is defined on {', '.join(only)}; on {network.name}, its formula is the metric {found}"
        )
    return found


def _unfit(metric: Metric, pair: Pair) -> str | None:
    """Why the figure can't be computed at all."""
    if not metric.on(pair.network.name):
        return f"is defined on {', '.join(metric.only)}; {pair.network.name} is another network"
    sets = [pair.generated] if metric.one_set else [pair.generated, pair.real]
    least = min((each.count for each in sets if each.count is not None), default=metric.floor)
    if least < metric.floor:
        return f"can't be computed of {least} images; {metric.floor} are the least"
    needed = sets if metric.needs_features else []
    if metric is METRICS["fd-infinity"]:
        needed = [pair.generated]
    without = [each.path for each in needed if each.features is None]
    if without:
        return f"needs features (feats), which {' and '.join(without)} lacks; give the folder of images"
    return None


def _too_few(metric: Metric, pair: Pair) -> str | None:
    """Which set has too few images. A file that doesn't state its number is believed to have enough."""
    least = metric.least(pair.network.dimension)
    for each in [pair.generated] if metric.one_set else [pair.generated, pair.real]:
        if each.count is not None and each.count < least:
            return (
                f"{each.path} has {each.count:,} images, {least:,} are needed on {pair.network.name}; add images, or "
                'state why fewer will do: --allow-few "..."'
            )
    return None


def _side(found: ImageSet) -> Side:
    return Side(found.path, found.count, found.about.get("images_sha256"))
