"""Odd records and damaged files in every source and reader: one line or an outcome a record, and never much memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.catalog.fuzzing.corpus import CORPUS
from tests.catalog.fuzzing.kinds import KINDS, attack, run


@pytest.mark.parametrize("name", KINDS)
def test_a_few_odd_inputs_of_each_kind_are_told_or_read(name: str, tmp_path: Path) -> None:
    for seed in range(8):
        folder = tmp_path / str(seed)
        folder.mkdir()
        attack(name, seed, folder)


@pytest.mark.parametrize("example", CORPUS)
def test_inputs_that_once_ended_an_import_are_told_or_read(example: str, tmp_path: Path) -> None:
    kind, data = CORPUS[example]
    run(KINDS[kind], tmp_path, data)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1_000_000, 2_000_000, 3_000_000, 4_000_000])
def test_thousands_of_odd_inputs_end_no_import_lose_no_row_and_take_no_gigabyte(seed: int) -> None:
    # A process of its own: a reader that crashes takes it along, and its peak is nobody else's.
    words = [sys.executable, "-X", "faulthandler", "-m", "tests.catalog.fuzzing", str(seed), "3000"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["peak_kb"] < 1_000_000
