"""Captions by transfer from a pretrained model ("telephoning")."""

from __future__ import annotations

from commoncanvas.telephoning.captioner import Captioner, CaptionStage, caption, load_captioner

__all__ = ["CaptionStage", "Captioner", "caption", "load_captioner"]
