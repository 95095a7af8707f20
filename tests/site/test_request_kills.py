"""SIGKILL of the server while people send requests: none that it acknowledged is lost, and none is there twice."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from commoncanvas.catalog.takedown.requests import Requests, requests_folder
from tests.catalog.test_requests import asked

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "takedown_requests.py"


@pytest.fixture(scope="module")
def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("request_load", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["request_load"] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "kills", [pytest.param(2, marks=pytest.mark.slow), pytest.param(20, marks=pytest.mark.heavy)]
)
@pytest.mark.timeout(3000)
def test_no_acknowledged_request_is_lost_or_doubled(load: ModuleType, tmp_path: Path, kills: int) -> None:
    uri = load.make_catalog(tmp_path)
    heard = load.ask_and_kill(load.Server(uri), people=8, kills=kills)
    assert load.check(uri, heard) == [] and len(heard.acknowledged) >= 5 * kills


def test_the_check_sees_lost_changed_and_doubled_requests(load: ModuleType, tmp_path: Path) -> None:
    uri = str(tmp_path / "cc.lance")
    store = Requests.make(requests_folder(uri))
    store.add(asked(1, reason="one"), "a" * 40)
    good = load.Heard(sent={"a" * 40: "one"}, acknowledged={"a" * 40: 1})
    assert load.check(uri, good) == []
    assert load.check(uri, load.Heard(good.sent, {"b" * 40: 2})) == ["1 acknowledged requests that are lost"]
    changed = load.Heard({"a" * 40: "two"}, good.acknowledged)
    assert "1 acknowledged requests that changed" in load.check(uri, changed)
    store.add(asked(1, reason="one"), "c" * 40)
    assert load.check(uri, good) == ["1 requests that are there twice"]
