"""What comparisons with other packages need: environments of their own, since they may pin what this project doesn't
want; and pictures.
"""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZES = ((128, 128), (192, 96), (96, 160))
FOLDER = Path(tempfile.gettempdir()) / "commoncanvas-peers"


def python_with(folder: Path, *packages: str) -> Path:
    """A Python in `folder` with these packages, without what they depend on. It also finds what is installed here:
    torch, torchvision, scipy and so on.
    """
    python, done = folder / "bin" / "python", folder / "installed.json"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        packages_folder = next((folder / "lib").glob("python*/site-packages"))
        (packages_folder / "ours.pth").write_text("\n".join(site.getsitepackages()) + "\n")
        install = [python, "-m", "pip", "install", "-q", "--no-deps", "--ignore-installed", *packages]
        subprocess.run(install, check=True)
        done.write_text(json.dumps(packages))
    return python


def run(python: Path | str, code: str, *arguments: object, threads: int = 2) -> Any:
    """What the script `code` prints in its last line, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "run.py"  # a file, since torch.jit.script reads the source of a class
        script.write_text(code)
        done = subprocess.run(
            [str(python), str(script), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def pictures(folder: Path, count: int) -> list[Path]:
    """Smooth random pictures, some of them not square."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    paths = []
    for number in range(count):
        pixels = draw.integers(0, 256, (6, 6, 3), np.uint8)
        paths.append(folder / f"{number:02}.png")
        Image.fromarray(pixels).resize(SIZES[number % len(SIZES)]).save(paths[-1])
    return paths
