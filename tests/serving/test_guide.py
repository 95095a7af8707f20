"""The clients of docs/guide/serve.md get the images that the page says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from commoncanvas.drawing.generate import generate
from commoncanvas.options.generate import DrawOptions
from tests.docs.guides import BLOCK, ROOT
from tests.serving.conftest import Running

ADDRESS = "http://127.0.0.1:8000/"


def test_the_three_clients_of_the_guide_draw_one_image(
    served: Running, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/guide/serve.md").read_text(encoding="utf-8")
    text = text.partition("## Clients")[2].partition("\n## ")[0]
    blocks = BLOCK.findall(text.replace(ADDRESS, served.url).replace("demo/model", str(model)))
    by_openai, by_diffusers = (block for kind, block in blocks if kind == "python")
    [expected] = generate(model, "a deer", DrawOptions(seed=3, steps=25, guidance_scale=3.0))
    exec(by_openai, {})
    assert np.array_equal(np.asarray(Image.open("deer.png")), np.asarray(expected))
    exec(by_diffusers, {})
    apart = np.asarray(Image.open("deer.png")).astype(int) - np.asarray(expected)
    assert np.abs(apart).max() <= 2
    if shutil.which("curl"):
        [command] = [block for _, block in blocks if block.startswith("curl ") and "generations" in block]
        answer = subprocess.run(
            ["sh", "-c", f'curl() {{ command curl -sS "$@"; }}; {command}'], capture_output=True
        )
        [made] = json.loads(answer.stdout)["data"]
        assert made["seed"] == 3
        Path("url.png").write_bytes(httpx.get(made["url"]).content)
        assert np.array_equal(np.asarray(Image.open("url.png")), np.asarray(expected))
