"""FID's InceptionV3 with random weights, in the file format of torch-fidelity and pytorch-fid."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
from torch_fidelity import feature_extractor_inceptionv3 as theirs


class _Empty(theirs.FeatureExtractorInceptionV3):  # type: ignore[misc]
    """Loads no weights."""

    def load_state_dict(self, *_: object, **__: object) -> None: ...


def save_random_inception(path: Path) -> None:
    """Write the file of weights, of a size that keeps the features' scale. Always the same."""
    torch.manual_seed(0)
    with mock.patch.object(theirs, "load_state_dict_from_url", lambda *_, **__: None):
        network = _Empty("inception-v3-compat", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.1)
    torch.save(network.state_dict(), path)
