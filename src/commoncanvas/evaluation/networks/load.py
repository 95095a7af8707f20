"""Feature networks by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from commoncanvas.core.errors import ModelError

if TYPE_CHECKING:
    from commoncanvas.evaluation.networks.network import Network

DEFAULT = "efficientnet-lite0"
NETWORKS = {
    DEFAULT: ("efficientnet", "EfficientNetLite0"),
    "inception-v3": ("inception", "InceptionV3"),
    "inception-v3-tf1": ("inception", "InceptionV3"),
    "clip-vit-b-32": ("clip", "Clip"),
    "clip-vit-l-14-336": ("clip", "Clip"),
    "dinov2-vit-l-14": ("dinov2", "DinoV2"),
    "sscd": ("sscd", "Sscd"),
}
"""Name -> the file here and the class in it. Its arguments: name, weights or None, device."""


def load_network(spec: str = DEFAULT, device: str = "auto") -> Network:
    """The feature network `NAME` or `NAME:WEIGHTS`; weights are a file, a folder or a hub id, as its file here says.

    Raises ModelError, and MissingExtraError if a package is missing.
    """
    name, _, weights = spec.partition(":")
    if name not in NETWORKS:
        raise ModelError(f"feature network {name!r} is unknown; give one of {', '.join(NETWORKS)}")
    from commoncanvas.models.devices import pick_device

    file, kind = NETWORKS[name]
    network: Any = getattr(import_module(f"commoncanvas.evaluation.networks.{file}"), kind)
    loaded: Network = network(name, weights or None, pick_device(device))
    return loaded
