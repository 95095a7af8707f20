from __future__ import annotations

from pathlib import Path

import pytest

from commoncanvas.pages.report import write_report

from .example import example


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a realistic run."""
    return write_report(out=tmp_path_factory.mktemp("report") / "report.html", **example())
