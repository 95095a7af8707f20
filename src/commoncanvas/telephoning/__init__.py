"""Captions by pretrained image-to-text models: see `captioner` for the protocol."""

from __future__ import annotations

from commoncanvas.telephoning.captioner import (
    Caption,
    Captioner,
    CaptionerConfig,
    captions_of,
    kind_of,
    load_captioner,
)
from commoncanvas.telephoning.captioning import caption
from commoncanvas.telephoning.dropping import drop_captions
from commoncanvas.telephoning.report import CaptionReport, caption_report
from commoncanvas.telephoning.stage import CaptionStage

__all__ = [
    "Caption",
    "CaptionReport",
    "CaptionStage",
    "Captioner",
    "CaptionerConfig",
    "caption",
    "caption_report",
    "captions_of",
    "drop_captions",
    "kind_of",
    "load_captioner",
]
