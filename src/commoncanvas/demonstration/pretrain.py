"""The packaged XS, from OpenMoji's drawings to the folder that the package contains: `make xs`."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from commoncanvas.catalog import Catalog
from commoncanvas.core.console import say
from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.core.files import only_one
from commoncanvas.core.platforms import need_unix
from commoncanvas.demonstration.command import NOMINAL_MINUTES, SIZE, Command, State
from commoncanvas.models.pretrained import FOLDER

PIECES = 3600
"""Word pieces of the text encoder. OpenMoji's names and keywords need 3,055; with more, the weights pass 16 MB."""
THREADS = "2"
"""torch's threads, on which the last bits of all weights depend."""
AUTOENCODER, DIFFUSION, FEATURES = "xs-64-autoencoder", "xs-64", "xs-captioner"
PROMPTS = "150"
ABOUT = Path(__file__).with_name("xs-about.yaml")


def commands(out: Path) -> tuple[list[Command], list[Command]]:
    """The commands before and after the text encoder is written, as a user could type them."""
    catalog, model, release = (str(out / name) for name in ("catalog.lance", "model", "release"))
    of_all = ("--data.catalog", catalog, "--data.filter", "null", "--data.text", "[title]")
    places = (
        "--vae",
        str(out / "autoencoder"),
        "--text_encoder",
        str(out / "text-encoder"),
        "--data.catalogs.main.catalog",
        catalog,
        "--data.catalogs.skin_tones.catalog",
        catalog,
    )
    before = [
        Command("import", ("catalog", "import", "openmoji", "--catalog", catalog)),
        Command("fetch", ("catalog", "fetch", "--catalog", catalog, "--size", str(SIZE), "--format", "png")),
        Command("features", ("encode", FEATURES, *of_all)),
    ]
    after = [
        Command(
            "autoencoder",
            ("train", AUTOENCODER, "--data.catalog", catalog, "--out", str(out / "autoencoder"), "--resume"),
        ),
        Command("latents", ("encode", DIFFUSION, *places)),
        Command("model", ("train", DIFFUSION, *places, "--out", model, "--resume")),
        Command("evaluate", ("evaluate", model, "--samples", PROMPTS)),
        Command("release", ("release", "model", model, "--about", str(ABOUT), "--out", release)),
    ]
    return before, after


def pretrain(out: str = "build/xs") -> Path:
    """Train the packaged XS in `out`, and release it into `out`/release; finished stages are not repeated.

    Raises CommonCanvasError.
    """
    need_unix("the training of the packaged XS")
    os.environ["OMP_NUM_THREADS"] = THREADS
    folder = Path(out)
    before, after = commands(folder)
    stages = len(before) + len(after)
    with only_one(folder) as lock:
        state = State(folder / "stages.json", NOMINAL_MINUTES)
        state.run_all(before, stages, lock)
        _write_text_encoder(folder)
        state.run_all([*before, *after], stages, lock)
    return folder / "release"


def install(release: Path) -> None:
    """Put the release into this checkout's package."""
    shutil.rmtree(FOLDER / "xs", ignore_errors=True)
    shutil.copytree(release, FOLDER / "xs")


def _write_text_encoder(folder: Path) -> None:
    from commoncanvas.models.small_encoder import write_small_encoder

    done = folder / "text-encoder"
    if done.exists():
        return
    partial = folder / "text-encoder.partial"
    shutil.rmtree(partial, ignore_errors=True)
    write_small_encoder(partial, _texts(folder), pieces=PIECES)
    partial.rename(done)


def _texts(folder: Path) -> Iterator[str]:
    """All names and keywords of the catalog."""
    for batch in Catalog.open(folder / "catalog.lance").scan(["title", "description"], "title IS NOT NULL"):
        for row in batch.to_pylist():
            yield from (text for text in row.values() if text)


def main() -> None:
    """`make xs`."""
    try:
        install(pretrain(*sys.argv[1:]))
    except CommonCanvasError as error:
        say(f"make xs: {error}", style="red")
        sys.exit(2)


if __name__ == "__main__":
    main()
