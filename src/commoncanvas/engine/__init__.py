"""Engines run the work on fragments. An engine only maps a function over items."""

from __future__ import annotations

from commoncanvas.engine.engine import ENGINES, Engine, engine_of
from commoncanvas.engine.local import LocalEngine
from commoncanvas.engine.portable import portable
from commoncanvas.engine.ray import RayEngine
from commoncanvas.engine.threads import ahead, every

__all__ = ["ENGINES", "Engine", "LocalEngine", "RayEngine", "ahead", "engine_of", "every", "portable"]
