"""The XS captioner against copying: each image gets the label of the labelled image that looks most like it.

python benchmarks/captions.py [DEMO]      DEMO: the folder of a finished `commoncanvas demo`

Both see the same EfficientNet-Lite0 features and the same labels, and are judged as `commoncanvas caption` judges:
sentence cosine to the true names, which neither saw, beside the same for shuffled captions. Once for all images that
the demo asked about, once for those that the captioner was sure of (`caption --unsure`).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from commoncanvas.captioning import CaptionerConfig, load_captioner
from commoncanvas.catalog import Catalog
from commoncanvas.images.image import decode, square
from commoncanvas.models import efficientnet
from commoncanvas.models.image_features import image_features
from commoncanvas.models.sentences import embed
from commoncanvas.models.similarity import matched_and_shuffled

BATCH = 32


def features(images: list[bytes]) -> NDArray[np.float32]:
    """Pooled features [N, 1280] of stored images."""
    network = efficientnet.load()
    squares = [square(decode(data), efficientnet.INPUT_SIZE) for data in images]
    parts = [
        image_features(network, squares[start : start + BATCH], 1, BATCH)
        for start in range(0, len(squares), BATCH)
    ]
    return np.concatenate([part.numpy() for part in parts])[:, :, 0, 0]


def main(folder: str = "demo") -> None:
    catalog = Catalog.open(Path(folder) / "catalog.lance")
    learned = pq.read_table(Path(folder) / "xs-captioner" / "rows.parquet", filters=[("split", "=", "train")])
    known = catalog.take(learned["row_id"].to_numpy(), ["image", "label"])
    columns = ["image_id", "image", "caption_status", "title"]
    asked = catalog.table(columns, "caption_status IS NOT NULL AND title IS NOT NULL")
    names = asked["title"].to_pylist()

    mine, theirs = features(asked["image"].to_pylist()), features(known["image"].to_pylist())
    centre = theirs.mean(0)
    mine, theirs = mine - centre, theirs - centre
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    nearest = (mine @ theirs.T).argmax(1)
    copied = known["label"].take(nearest).to_pylist()
    captioner = load_captioner(CaptionerConfig(str(Path(folder) / "xs-captioner")))
    ids = asked["image_id"].to_pylist()
    written = captioner.caption([captioner.prepare(image) for image in asked["image"].to_pylist()], ids)
    every = [each.text or "" for each in written]
    sure = np.flatnonzero(asked["caption_status"].to_numpy(zero_copy_only=False) == "ok")
    for what, places in (("all images", np.arange(len(names))), ("those it is sure of", sure)):
        for who, captions in (("captioner", every), ("copied label", copied)):
            some, true = [captions[place] for place in places], [names[place] for place in places]
            matched, shuffled = matched_and_shuffled(embed(some), embed(true))
            print(
                f"{what:<20} {who:<14} cosine {matched:.3f}   shuffled {shuffled:.3f}   ({len(some)} images)"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
