"""By which rule are copies of training images told from strangers? How `memorisation` could judge, and how it does.

Run: python benchmarks/copies.py MODEL CATALOG, or MODEL NAME=CATALOG NAME=CATALOG for a model of several. The features
become columns of the catalogs, as with `commoncanvas memorisation`, so give copies of them. It takes one to three
minutes. Prints:
- how many training images are nearest to themselves after they have passed the model's autoencoder, if they are
  compared with the stored files, and if with the files as the autoencoder draws them;
- for each rule, with the same share of false alarms, how many known copies are found. Rules: the nearest training
  image; Carlini's ratio (arXiv 2301.13188), of its distance to the mean distance of the next 50, with and without
  twins of the nearest; its similarity less that of its own nearest twin; a threshold of their own for images with
  twins; strangers with a similar perceptual hash left out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.evaluation.folder import diffusion_provenance
from commoncanvas.evaluation.networks.load import load_network
from commoncanvas.images.image import square
from commoncanvas.memorisation.calibration import false_alarms_of, threshold_of
from commoncanvas.memorisation.command import FEATURES
from commoncanvas.memorisation.copies import CHANGES
from commoncanvas.memorisation.learned import Learned
from commoncanvas.memorisation.projection import Whitening
from commoncanvas.memorisation.view import View
from commoncanvas.models.devices import pick_device

ALARMS = (0.0025, 0.01)
COPIES = 200
TWIN = 0.7
"""From this similarity on, two training images are called twins."""
Floats = NDArray[np.floating]
Rule = Callable[[Floats], Floats]
"""Similarities [Q, N] to all training images -> how much each of Q images is a copy, [Q]."""


def ratio(twins_NN: Floats, twin: float, count: int = 50) -> Rule:
    """Carlini's ratio, negative. Images with a similarity of `twin` or more to the nearest don't count."""

    def rule(found_QN: Floats) -> Floats:
        best = found_QN.argmax(1)
        rest = np.where(twins_NN[best] >= twin, -np.inf, found_QN)
        rest[np.arange(len(best)), best] = -np.inf
        following = np.sort(rest, 1)[:, -count:]
        mean = np.nanmean(np.where(np.isfinite(following), 1 - following, np.nan), 1)
        return np.asarray(-(1 - found_QN.max(1)) / mean)

    return rule


def line(
    name: str, strangers: Floats, copies: dict[str, Floats], right: dict[str, NDArray[np.bool_]]
) -> None:
    for alarms in ALARMS:
        if not len(strangers):
            continue
        threshold = threshold_of(strangers, alarms)
        found = ", ".join(
            f"{change} {100 * ((each > threshold) & right[change]).mean():.0f} %"
            for change, each in copies.items()
        )
        measured = false_alarms_of(strangers, alarms)
        print(
            f"{name}: threshold {threshold:.3f}, strangers {measured.found} of {measured.of}; {found}",
            flush=True,
        )


def main(model: str, *catalogs: str) -> None:
    learned = Learned(model, diffusion_provenance(model), catalogs)
    view = View(load_pipeline(model).to(pick_device("auto")), load_network(FEATURES, "auto"))
    strangers = learned.strangers(2000, 0)
    learned.compute(view, strangers)
    third = len(strangers) // 3
    background, strangers = strangers[:third], strangers[third:]
    # `Learned.features` gives rows catalog by catalog.
    trained = sorted(learned.some(10**9, 0), key=lambda row: list(learned.catalogs).index(row.catalog))
    strangers = sorted(strangers, key=lambda row: list(learned.catalogs).index(row.catalog))
    training, asked = learned.features(view, trained), learned.features(view, strangers)
    images = [image for image in learned.images(trained) if image is not None]
    assert len(images) == len(trained) == len(training) and len(asked) == len(strangers), (
        "an unreadable image"
    )
    unlike = learned.features(view, background)
    order = np.random.default_rng(0).permutation(len(trained))
    whitening = Whitening.fit(np.concatenate([unlike, training[order[:third]]]))
    stored = view.features([square(image, view.size) for image in images])
    plain = Whitening.fit(np.concatenate([unlike, stored[order[:third]]]))
    places = order[:COPIES]
    originals = [images[place] for place in places]
    drawn = view.features(view.drawn(originals))
    for name, fitted, base in (("the stored files", plain, stored), ("files as drawn", whitening, training)):
        hits = (fitted(drawn) @ fitted(base).T).argmax(1) == places
        print(f"nearest to itself, compared with {name}: {hits.sum()} of {len(hits)}")
    whole = whitening(training)
    twins = whole @ whole.T
    np.fill_diagonal(twins, -1)
    alone = twins.max(1) < TWIN
    with_twin = f"{100 * (1 - alone.mean()):.0f} %"
    print(f"training images {len(whole)}, of which {with_twin} have a twin; strangers {len(asked)}")
    to_strangers = whitening(asked) @ whole.T
    to_copies = {
        name: whitening(view.features(view.drawn([change(image) for image in originals]))) @ whole.T
        for name, change in CHANGES.items()
    }
    own = {name: found.argmax(1) == places for name, found in to_copies.items()}
    rules: dict[str, Rule] = {
        "nearest": lambda found: found.max(1),
        "ratio": ratio(twins, np.inf),
        "ratio without twins": ratio(twins, TWIN),
        "nearest less its twin": lambda found: found.max(1) - twins.max(1)[found.argmax(1)],
    }
    for name, rule in rules.items():
        line(name, rule(to_strangers), {each: rule(found) for each, found in to_copies.items()}, own)
    over = {name: found[np.arange(len(places)), places] for name, found in to_copies.items()}
    line(
        "nearest, or a twin of it",
        to_strangers.max(1),
        over,
        {name: np.ones(len(places), bool) for name in own},
    )
    for name, kept in (("images without a twin", alone), ("images with a twin", ~alone)):
        chosen = {each: found.max(1)[kept[places]] for each, found in to_copies.items()}
        right = {each: hits[kept[places]] for each, hits in own.items()}
        line(name, to_strangers.max(1)[kept[to_strangers.argmax(1)]], chosen, right)
    known = np.array([each for each in learned.column(trained, "phash") if each], np.uint64)
    hashes = np.array(learned.column(strangers, "phash"), np.uint64)
    bits = np.bitwise_count(known[None] ^ hashes[:, None]).min(1)
    for most in (8, 12, 16):
        copies = {each: found.max(1) for each, found in to_copies.items()}
        line(f"strangers over {most} bits of the hash", to_strangers.max(1)[bits > most], copies, own)


if __name__ == "__main__":
    main(*sys.argv[1:])
