"""A site shows the parts that it has, and nothing of those that it lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from commoncanvas.core.errors import ServerError
from commoncanvas.site.command import serve_site
from commoncanvas.site.parts import Site
from tests.conftest import add_shapes
from tests.site.conftest import Open


def test_a_site_without_a_model_has_no_images_api(opened: Open) -> None:
    url = opened(Site())
    assert httpx.get(f"{url}health").json() == {"status": "ok"}
    assert httpx.post(f"{url}v1/images/generations", json={"prompt": "a deer"}).status_code == 404


def test_a_server_without_a_model_starts_without_torch() -> None:
    """Seconds, of the second and a half that it takes."""
    program = (
        "import sys\n"
        "from commoncanvas.site.app import site_app\n"
        "from commoncanvas.site import command\n"
        "from commoncanvas.site.parts import Site\n"
        "from commoncanvas.web.tokens import Tokens\n"
        "site_app(Site(), Tokens())\n"
        "print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_nothing_to_serve_is_an_error() -> None:
    with pytest.raises(ServerError, match="give a model"):
        serve_site()


def test_two_catalogs_of_one_name_are_an_error(tmp_path: Path) -> None:
    places = [str(tmp_path / name / "cc.lance") for name in ("a", "b")]
    for place in places:
        add_shapes(place)
    with pytest.raises(ServerError, match="two catalogs have the name cc"):
        serve_site(catalog=places, port=0)
