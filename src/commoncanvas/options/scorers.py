"""Options of what scores images with their prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter


@dataclass(frozen=True, kw_only=True)
class ScorerOptions:
    """What scores each image with its prompt.

    Attributes:
        scorers: KIND:MODEL, one or more; MODEL is a folder, a file or a hub id. Kinds: clip, pickscore, hpsv2, vqa,
            captioner (cosine of the prompt and its caption), soft-tifa (questions of a suite), detector (objects of
            GenEval).
        colour_clip: CLIP model that names the colours of what `detector` finds; default:
            openai/clip-vit-large-patch14.
    """

    scorers: Annotated[tuple[str, ...], Parameter(alias="--scorer")] = ()
    colour_clip: str = "openai/clip-vit-large-patch14"


DEFAULTS = ScorerOptions()
