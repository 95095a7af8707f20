"""Features of a set of images and their statistics, in clean-fid's .npz form: `mu` and `sigma`, and `feats`.

clean-fid keeps the two in two files and reads only the names that it knows. Here they are in one file, with `about`:
network, digests of its weights and of the images, their number, in JSON.

Shapes: N samples, D features.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commoncanvas.core.errors import MetricError
from commoncanvas.core.files import replace_bytes
from commoncanvas.core.text import one_line
from commoncanvas.evaluation.frechet import Gaussian
from commoncanvas.evaluation.image_files import images_in
from commoncanvas.evaluation.networks.network import Network
from commoncanvas.provenance.digests import file_sha256

SUFFIX = ".npz"


@dataclass(frozen=True)
class ImageSet:
    """A set of images as a network sees it."""

    path: str
    gaussian: Gaussian
    features: NDArray[np.float32] | None
    """[N, D]; None if the file has mean and covariance only."""
    about: Mapping[str, Any]
    """`network`, `network_sha256`, `resize`, `images`, `images_sha256`; empty if another tool wrote the file."""
    files: tuple[Path, ...] = ()

    @property
    def count(self) -> int | None:
        """N, if it is known."""
        return self.gaussian.count


def read_set(
    path: Path,
    network: Network,
    cache: Path | None = None,
    advance: Callable[[int], None] = lambda count: None,
) -> ImageSet:
    """The images of a folder, or the statistics in a .npz file. With `cache`, a folder for such files, the features of
    a folder of images are written there, and read again if images and network are the same.

    Raises ImageError and MetricError.
    """
    if path.suffix == SUFFIX:
        return read_statistics(path, network)
    if not path.is_dir():
        raise MetricError(f"{path} is neither a folder of images nor a {SUFFIX} file of statistics")
    files = images_in(path)
    about = {
        "network": network.name,
        "network_sha256": network.sha256,
        "resize": network.resize,
        "images": len(files),
        "images_sha256": _digest(files),
    }
    kept = cache / f"{network.name}-{_key(about)}{SUFFIX}" if cache else None
    if kept and kept.is_file():
        found = read_statistics(kept, network)
        advance(len(files))
    else:
        features = network.of_files(files, advance)
        found = ImageSet(str(path), _gaussian(features), features, about)
        if kept:
            write_statistics(kept, found)
    return ImageSet(str(path), found.gaussian, found.features, about, tuple(files))


def write_statistics(path: Path, found: ImageSet) -> None:
    """Write `mu`, `sigma`, `feats` and `about`, atomically."""
    parts: dict[str, Any] = {"mu": found.gaussian.mean, "sigma": found.gaussian.covariance}
    if found.features is not None:
        parts["feats"] = found.features
    file = io.BytesIO()
    np.savez(file, **parts, about=np.array(json.dumps(dict(found.about), sort_keys=True)))
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, file.getvalue())


def read_statistics(path: Path, network: Network) -> ImageSet:
    """A .npz file by this tool, clean-fid or pytorch-fid. Raises MetricError, also for another network's."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("mu", "sigma", "feats", "about") if name in arrays}
            about = json.loads(str(found.get("about", "{}")))
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MetricError(f"{path} can't be read as statistics: {one_line(error)}") from error
    features = found.get("feats")
    wanted = (network.name, network.sha256)
    stated = (about.get("network"), about.get("network_sha256"))
    if about and stated != wanted:
        raise MetricError(
            f"{path} is of {stated[0]} (sha256 {str(stated[1])[:12]}), not of {wanted[0]} ({wanted[1][:12]})"
        )
    if features is not None:
        gaussian = _gaussian(features) if "mu" not in found else _stated(found, path, len(features))
    elif "mu" in found and "sigma" in found:
        gaussian = _stated(found, path, about.get("images"))
    else:
        raise MetricError(f"{path} has neither mu and sigma nor feats; {SUFFIX} files of clean-fid have them")
    if gaussian.mean.shape != (network.dimension,):
        raise MetricError(f"{path} has {gaussian.mean.size} features, {network.name} has {network.dimension}")
    return ImageSet(str(path), gaussian, features, about)


def _gaussian(features: NDArray[np.floating]) -> Gaussian:
    if features.ndim != 2 or len(features) < 2:
        raise MetricError(f"{len(features)} images are too few: a covariance needs two")
    return Gaussian.of(features)


def _stated(found: Mapping[str, Any], path: Path, count: int | None) -> Gaussian:
    mean, covariance = (np.asarray(found[name], np.float64) for name in ("mu", "sigma"))
    if covariance.shape != (mean.size, mean.size) or mean.ndim != 1:
        raise MetricError(f"{path}: mu {mean.shape} and sigma {covariance.shape} don't fit")
    return Gaussian(mean, covariance, count)


def _digest(files: Sequence[Path]) -> str:
    """Of the images' bytes, whatever the files' names are."""
    return hashlib.sha256("".join(sorted(map(file_sha256, files))).encode()).hexdigest()


def _key(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
