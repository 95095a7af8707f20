"""CommonCanvas: open text-to-image models from openly licensed images, with every creator known.

Each command is a call of the same name: `commoncanvas.caption`, `encode`, `train`, `evaluate`, `compare`, `generate`,
`credentials`, `plan`, `demo`, `study_scarcity`, `measure_memorisation`, `sources`, and in `commoncanvas.catalog` those
of `commoncanvas catalog`.
`sweep` is `evaluate` with several models or settings, `evaluate_suite` with the prompts of a benchmark.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from commoncanvas.core.extras import missing_extra
from commoncanvas.core.version import __version__ as __version__

if TYPE_CHECKING:
    from commoncanvas.captioning.command import caption as caption
    from commoncanvas.config import load_recipe as load_recipe
    from commoncanvas.demonstration.command import demo as demo
    from commoncanvas.drawing.generate import generate as generate
    from commoncanvas.drawing.reading import credentials as credentials
    from commoncanvas.encoding.command import encode as encode
    from commoncanvas.evaluation import evaluate as evaluate
    from commoncanvas.evaluation.comparing.command import compare as compare
    from commoncanvas.evaluation.suites.command import evaluate_suite as evaluate_suite
    from commoncanvas.evaluation.sweeps.command import sweep as sweep
    from commoncanvas.evaluation.validation import train as train
    from commoncanvas.memorisation.command import measure_memorisation as measure_memorisation
    from commoncanvas.memorisation.sources import sources as sources
    from commoncanvas.options.credentials import CredentialOptions as CredentialOptions
    from commoncanvas.options.evaluate import SuiteOptions as SuiteOptions
    from commoncanvas.options.evaluate import SweepOptions as SweepOptions
    from commoncanvas.options.generate import DrawOptions as DrawOptions
    from commoncanvas.options.scorers import ScorerOptions as ScorerOptions
    from commoncanvas.planning.command import plan as plan
    from commoncanvas.planning.init_recipe import init_recipe as init_recipe
    from commoncanvas.release.check import check_model as check_model
    from commoncanvas.release.check_data import check_data as check_data
    from commoncanvas.release.check_release import check_release as check_release
    from commoncanvas.release.data import release_data as release_data
    from commoncanvas.release.model.command import release_model as release_model
    from commoncanvas.studies.scarcity import study_scarcity as study_scarcity

# Imported when they are used: each brings torch with it.
_CALLS = {
    "CredentialOptions": "commoncanvas.options.credentials",
    "DrawOptions": "commoncanvas.options.generate",
    "ScorerOptions": "commoncanvas.options.scorers",
    "SuiteOptions": "commoncanvas.options.evaluate",
    "SweepOptions": "commoncanvas.options.evaluate",
    "caption": "commoncanvas.captioning.command",
    "compare": "commoncanvas.evaluation.comparing.command",
    "check_data": "commoncanvas.release.check_data",
    "check_release": "commoncanvas.release.check_release",
    "check_model": "commoncanvas.release.check",
    "credentials": "commoncanvas.drawing.reading",
    "demo": "commoncanvas.demonstration.command",
    "encode": "commoncanvas.encoding.command",
    "evaluate": "commoncanvas.evaluation",
    "evaluate_suite": "commoncanvas.evaluation.suites.command",
    "generate": "commoncanvas.drawing.generate",
    "init_recipe": "commoncanvas.planning.init_recipe",
    "load_recipe": "commoncanvas.config",
    "measure_memorisation": "commoncanvas.memorisation.command",
    "plan": "commoncanvas.planning.command",
    "release_data": "commoncanvas.release.data",
    "release_model": "commoncanvas.release.model.command",
    "sources": "commoncanvas.memorisation.sources",
    "study_scarcity": "commoncanvas.studies.scarcity",
    "sweep": "commoncanvas.evaluation.sweeps.command",
    "train": "commoncanvas.evaluation.validation",
}


def __getattr__(name: str) -> Any:
    if name in _CALLS:
        try:
            return getattr(import_module(_CALLS[name]), name)
        except ModuleNotFoundError as error:
            if missing := missing_extra(error):
                raise missing from error
            raise
    raise AttributeError(f"module 'commoncanvas' has no attribute {name!r}")
