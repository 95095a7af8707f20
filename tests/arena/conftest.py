from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from commoncanvas.options.arena import ArenaOptions

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "arena.py"
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def load() -> ModuleType:
    """The script that votes as many people at once, and kills the server."""
    spec = importlib.util.spec_from_file_location("arena_load", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["arena_load"] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make(load: ModuleType, tmp_path: Path) -> Make:
    """Makes an arena of made-up images: `make(prompts, models=2, side=16, **options)`."""

    def made(prompts: int, models: int = 2, side: int = 16, **options: Any) -> Path:
        arena: Path = load.make_arena(tmp_path, prompts, ArenaOptions(**options), models, side)
        return arena

    return made


@pytest.fixture
def serve(load: ModuleType) -> Iterator[Callable[..., Any]]:
    """Starts the server of an arena in a process of its own: `serve(arena, *words)`."""
    servers = []

    def started(arena: Path, *words: str) -> Any:
        servers.append(load.Server(arena, *words))
        return servers[-1]

    yield started
    for server in servers:
        server.kill()
