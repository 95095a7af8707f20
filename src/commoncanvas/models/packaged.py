"""Models that are pip packages, and who made them; NOTICE says the same. The packages' own metadata names who packed
them, not who made the models.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Packaged:
    """`license` as the model's card has it, `authors`, and the `page` of the model."""

    license: str
    authors: str
    page: str


PACKAGED = {
    "minilm": Packaged(
        "apache-2.0",
        "the sentence-transformers project, which fine-tuned nreimers/MiniLM-L6-H384-uncased (MIT licence), "
        "which comes from Microsoft's MiniLM (https://arxiv.org/abs/2002.10957)",
        "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
    "efficientnet-lite0": Packaged(
        "apache-2.0",
        "Google, converted to PyTorch by ML Illustrated",
        "https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    ),
}
