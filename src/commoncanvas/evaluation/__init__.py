"""Measure how good a model is: features, distances, retrieval and the round trip through a captioner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commoncanvas.evaluation.command import evaluate
    from commoncanvas.evaluation.result import Evaluation

__all__ = ["Evaluation", "evaluate"]


def __getattr__(name: str) -> Any:
    # torch and diffusers are loaded when something is evaluated, not when the package is imported.
    if name in __all__:
        from commoncanvas.evaluation import command

        return getattr(command, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
