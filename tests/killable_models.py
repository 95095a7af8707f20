"""`caption`, `encode` and `caption drop`, to be killed: those with a model note what it has been at, row by row.

Run: python -m tests.killable_models WHAT CATALOG MODEL LOG
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from commoncanvas.captioning import CaptionerConfig, caption
from commoncanvas.captioning.generation import GeneratingCaptioner
from commoncanvas.captioning.quality.drop import DropStage, drop_captions
from commoncanvas.catalog import FetchOptions, fetch, import_
from commoncanvas.config import DiffusionRecipe, EncodeConfig, load_recipe
from commoncanvas.encoding import stages
from commoncanvas.encoding.command import encode
from commoncanvas.table import append, backfill

FRAGMENT_ROWS = 40
DROPPED_BY = ("min_words", "max_words")
WHERE = "array_has(tags, 'animals-nature') OR array_has(tags, 'food-drink')"


def noting(kind: Any, name: str, log: Path, ids: Any) -> None:
    """Let `kind.name` write down what it has done."""
    call = getattr(kind, name)

    def noted(self: Any, *arguments: Any) -> Any:
        result = call(self, *arguments)
        with log.open("a") as file:
            file.write("".join(f"{one}\n" for one in ids(*arguments)))
        return result

    setattr(kind, name, noted)


def main(what: str, uri: str, model: str, log: str) -> None:
    append.FRAGMENT_ROWS = append.PART_ROWS = append.GROUP_ROWS = FRAGMENT_ROWS
    backfill.SLICE_SECONDS = 1e9  # a whole fragment, as of one that takes less than a minute
    backfill.COMMIT_SECONDS = 0.0
    match what:
        case "rows":
            import_("openmoji", uri)
            fetch(uri, FetchOptions(size=48, format="png"), where=WHERE)
        case "caption":
            noting(GeneratingCaptioner, "caption", Path(log), lambda prepared, ids: ids)
            config = CaptionerConfig(model, "vlm", max_tokens=6, precision="fp32", batch_size=2, device="cpu")
            caption(uri, config, where=None)
        case "imported":
            import_("openmoji", uri)
        case "drop":
            judge = DropStage.__call__

            def slowly(self: DropStage, batch: Any) -> Any:
                time.sleep(0.02)
                return judge(self, batch)

            DropStage.__call__ = slowly  # type: ignore[method-assign]
            drop_captions(uri, ["min-words=2", "max-words=3"])
        case "encode":
            noting(stages.TextStage, "encode", Path(log), lambda texts: texts)
            encode(recipe(uri, model))


def recipe(uri: str, model: str) -> DiffusionRecipe:
    made = load_recipe(
        "xs", ["--data.catalog", uri, "--vae", model, "--text_encoder", model, "--text_length", "8"]
    )
    assert isinstance(made, DiffusionRecipe)
    data = made.data.model_copy(update={"text": ["title"], "filter": None})
    return made.model_copy(update={"data": data, "size": 32, "encode": EncodeConfig(batch_size=8)})


if __name__ == "__main__":
    main(*sys.argv[1:])
