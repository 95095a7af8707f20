"""The prompts of an evaluation depend on the rows and the seed, and on nothing else."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas.evaluation.prompts import choose_prompts, fold

TEXTS = st.sampled_from(
    ["red apple", "Red  Apple", "fox", "rocket", "a fox", "moon", "cactus", "", " ", None]
)


@st.composite
def row_tables(draw: st.DrawFn) -> pa.Table:
    cells = draw(st.lists(st.tuples(TEXTS, st.sampled_from(["train", "unused", "heldout"])), max_size=30))
    return pa.table(
        {
            "image_id": [f"openmoji:{index}" for index in range(len(cells))],
            "row_id": pa.array(range(len(cells)), pa.uint64()),
            "split": pa.array([split for _, split in cells], pa.string()),
            "text": pa.array([text for text, _ in cells], pa.string()),
            "text_column": pa.array([text and "label" for text, _ in cells], pa.string()),
            "catalog": pa.array(["main"] * len(cells), pa.string()),
        }
    )


@given(row_tables(), st.sampled_from(["train", "heldout"]), st.integers(1, 10), st.integers(0, 99))
def test_the_draw_does_not_depend_on_the_order_of_the_rows(
    rows: pa.Table, split: str, count: int, seed: int
) -> None:
    backwards = rows.take(pa.array(range(len(rows))[::-1], pa.int64()))
    assert choose_prompts(rows, split, count, seed) == choose_prompts(backwards, split, count, seed)


@given(row_tables(), st.sampled_from(["train", "heldout"]), st.integers(1, 10), st.integers(0, 99))
def test_prompts_are_distinct_and_of_their_split(rows: pa.Table, split: str, count: int, seed: int) -> None:
    chosen = choose_prompts(rows, split, count, seed)
    splits = dict(zip(rows["image_id"].to_pylist(), rows["split"].to_pylist(), strict=True))
    words = [fold(prompt.text) for prompt in chosen]
    assert len(words) == len(set(words)) <= count and all(words)
    assert {splits[prompt.image_id] for prompt in chosen} <= {split}


@given(row_tables(), st.integers(1, 10), st.integers(0, 99))
def test_held_out_prompts_are_the_same_whatever_share_of_the_other_rows_was_trained_on(
    rows: pa.Table, count: int, seed: int
) -> None:
    splits = ["train" if split == "unused" else split for split in rows["split"].to_pylist()]
    whole = rows.set_column(rows.column_names.index("split"), "split", pa.array(splits, pa.string()))
    assert choose_prompts(rows, "heldout", count, seed) == choose_prompts(whole, "heldout", count, seed)


@given(row_tables(), st.integers(1, 10), st.integers(0, 99))
def test_a_held_out_prompt_was_never_seen_in_training(rows: pa.Table, count: int, seed: int) -> None:
    seen = {
        fold(row["text"]) for row in rows.to_pylist() if row["split"] == "train" and row["text"] is not None
    }
    assert not seen & {fold(prompt.text) for prompt in choose_prompts(rows, "heldout", count, seed)}


@given(row_tables(), st.integers(1, 10), st.integers(0, 99))
def test_nor_was_it_another_text_of_a_row_that_draws_one_of_several(
    rows: pa.Table, count: int, seed: int
) -> None:
    drawn = pa.array([f"{text or ''}\x1fA  Fox\x1f\x00" for text in rows["text"].to_pylist()], pa.string())
    prompts = choose_prompts(rows.append_column("texts", drawn), "heldout", count, seed)
    trained = any(
        split != "heldout" and (text or "").strip()
        for split, text in zip(rows["split"].to_pylist(), rows["text"].to_pylist(), strict=True)
    )
    assert not (trained and "a fox" in {fold(prompt.text) for prompt in prompts})


@given(row_tables(), st.integers(1, 10), st.integers(0, 99))
def test_more_prompts_keep_those_of_fewer(rows: pa.Table, count: int, seed: int) -> None:
    assert (
        choose_prompts(rows, "train", count + 5, seed)[:count]
        == choose_prompts(rows, "train", count, seed)[:count]
    )


def test_another_seed_draws_others() -> None:
    rows = pa.table(
        {
            "image_id": [f"openmoji:{index}" for index in range(200)],
            "row_id": pa.array(range(200), pa.uint64()),
            "split": ["train"] * 200,
            "text": [f"thing {index}" for index in range(200)],
            "text_column": ["label"] * 200,
            "catalog": ["main"] * 200,
        }
    )
    first, second = (choose_prompts(rows, "train", 64, seed) for seed in (0, 1))
    assert {prompt.image_id for prompt in first} != {prompt.image_id for prompt in second}
    assert len({prompt.seed for prompt in first}) == 64


def test_of_rows_that_are_held_out_together_one_is_drawn() -> None:
    rows = pa.table(
        {
            "image_id": [f"openmoji:{index}" for index in range(60)],
            "row_id": pa.array(range(60), pa.uint64()),
            "split": ["heldout"] * 60,
            "text": [f"thing {index // 6} in tone {index % 6}" for index in range(60)],
            "text_column": ["label"] * 60,
            "group": [f"thing {index // 6}" for index in range(60)],
            "catalog": ["main"] * 60,
        }
    )
    chosen = choose_prompts(rows, "heldout", 64, 0)
    assert len(chosen) == len({prompt.text.split(" in ")[0] for prompt in chosen}) == 10
