"""Captions by pretrained image-to-text models. See `captioner` for the protocol."""

from __future__ import annotations

from commoncanvas.captioning.captioner import (
    Caption,
    Captioner,
    captions_of,
    load_captioner,
)
from commoncanvas.captioning.command import caption
from commoncanvas.captioning.quality.drop import drop_captions
from commoncanvas.captioning.quality.report import caption_report
from commoncanvas.captioning.quality.result import CaptionReport
from commoncanvas.captioning.result import CaptionResult
from commoncanvas.captioning.stage import CaptionStage
from commoncanvas.options.caption import CaptionerConfig

__all__ = [
    "Caption",
    "CaptionReport",
    "CaptionResult",
    "CaptionStage",
    "Captioner",
    "CaptionerConfig",
    "caption",
    "caption_report",
    "captions_of",
    "drop_captions",
    "load_captioner",
]
