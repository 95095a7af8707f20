"""How far the default is off from the published table: what docs/guide/plan.md and the plan's note say."""

from pathlib import Path

import pytest

from commoncanvas.models.data_sheets import DEVICES
from commoncanvas.planning.network import network_of
from commoncanvas.planning.parts import latents_of, text_states_of
from commoncanvas.planning.reference import DAY_S, IMAGES, TABLE, Comparison, compare
from tests.planning.test_network import diffusion

DOCS = Path(__file__).parents[2] / "docs" / "guide" / "plan.md"


@pytest.fixture(scope="module")
def compared() -> list[Comparison]:
    recipes = [diffusion(name) for name in ("s-c", "s-c-512")]
    flops = {
        recipe.size: network_of(recipe, latents_of(recipe), text_states_of(recipe)).flops
        for recipe in recipes
    }
    return compare(flops, DEVICES["a100"])


def test_the_table_agrees_with_itself_and_with_the_recipes() -> None:
    for row in TABLE:
        assert sum(IMAGES[size] / rate for size, rate in row.images_per_s.items()) / DAY_S == pytest.approx(
            row.days, rel=0.002
        )
    for name in ("s-c", "s-c-512"):
        recipe = diffusion(name)
        assert recipe.train.steps * recipe.train.batch_size == IMAGES[recipe.size]


def test_the_plan_is_off_from_the_published_table_by_no_more_than_it_says(compared: list[Comparison]) -> None:
    assert max(abs(one.error_of_days) for one in compared) < 0.115
    errors = {(one.row.gpus, size): error for one in compared for size, error in one.errors.items()}
    assert errors.pop((128, 256)) == pytest.approx(0.60, abs=0.005)
    assert max(map(abs, errors.values())) < 0.15


def test_the_page_has_the_errors_of_now(compared: list[Comparison]) -> None:
    page = DOCS.read_text(encoding="utf-8")
    for one in compared:
        row = (
            f"| {one.row.gpus} | {one.errors[256]:+.1%} | {one.errors[512]:+.1%} | {one.error_of_days:+.1%} |"
        )
        assert row in page, "run benchmarks/plan.py --write docs/guide/plan.md"
