"""Options of `evaluate --suite`: a benchmark's prompts, and what scores the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SuiteName = Literal["dpg", "drawbench", "geneval", "geneval2", "gpic", "parti"]


@dataclass(frozen=True, kw_only=True)
class SuiteOptions:
    """A benchmark's prompts, and the scorers of their images.

    Attributes:
        suite: draw the prompts of a benchmark, instead of the model's own.
        prompts_file: the benchmark's own file or folder of prompts, as its authors publish it.
        scorer: KIND:MODEL, where MODEL is a folder, a file or a hub id; may be given several times. Kinds: vqa,
            soft-tifa, detector, pickscore, hpsv2, clip.
        images: images of each prompt; default: as many as the benchmark's authors draw.
        samples: most prompts, taken evenly from the whole file; the result says that it is a part.
        colour_clip: CLIP model that names the colours of what `detector` finds.
    """

    suite: SuiteName | None = None
    prompts_file: str | None = None
    scorer: tuple[str, ...] | None = None
    images: int | None = None
    samples: int | None = None
    colour_clip: str = "openai/clip-vit-large-patch14"


DEFAULTS = SuiteOptions()
