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
from commoncanvas.telephoning.stage import CaptionStage

__all__ = [
    "Caption",
    "CaptionStage",
    "Captioner",
    "CaptionerConfig",
    "caption",
    "captions_of",
    "kind_of",
    "load_captioner",
]
