"""Networks that turn images into features: InceptionV3, CLIP, DINOv2, SSCD, EfficientNet-Lite0. One file a network."""

from __future__ import annotations

from commoncanvas.evaluation.networks.load import load_network

__all__ = ["load_network"]
