"""What the commands say: the next command with its arguments, why nothing was done, and filters without their lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commoncanvas import licenses
from commoncanvas.captioning import CaptionerConfig, caption
from commoncanvas.catalog import Catalog, curate, stats
from commoncanvas.catalog.stats.result import dropped_lines
from commoncanvas.config import load_recipe
from commoncanvas.core.errors import TrainingError
from commoncanvas.core.text import counted
from commoncanvas.provenance.record import filter_of
from commoncanvas.provenance.record_file import read_provenance
from commoncanvas.table.filters import FETCHED, left_after, why_none
from commoncanvas.table.schema import to_batch
from commoncanvas.training.tasks.make import make_task
from tests.conftest import drawing


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")]
)
def test_one_thing_is_told_in_the_singular(count: int, shown: str) -> None:
    assert counted(count, "rows") == shown


def test_a_missing_column_names_the_command_that_makes_it_as_it_would_be_typed(
    shapes: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "my model.yaml"
    path.write_text(f"base: xs-captioner\ndata: {{catalog: {shapes.uri}, filter: null}}\n")
    own = load_recipe(str(path), ["--data.policy", "commercial", "--train.steps=3"])
    with pytest.raises(TrainingError) as error:
        make_task(own)
    assert str(error.value).endswith(
        f"to make it: commoncanvas encode '{path}' --data.policy commercial --train.steps=3"
    )


def test_rows_that_are_not_fetched_name_the_fetch_of_their_catalog(tmp_path: Path) -> None:
    catalog = Catalog.create(tmp_path / "a b.lance")
    catalog.add([to_batch([{"image_id": "a:1", "source": "a", "license": "CC0-1.0", "label": "x"}])])
    with pytest.raises(TrainingError) as error:
        make_task(load_recipe("xs-autoencoder", ["--data.catalog", catalog.uri, "--data.filter", "null"]))
    assert "nothing to train on: 1 row, 0 with fetch_status = 'ok'" in str(error.value)
    assert str(error.value).endswith(f"commoncanvas catalog fetch --catalog '{catalog.uri}'")
    assert why_none(catalog, [FETCHED]).endswith(f"commoncanvas catalog fetch --catalog '{catalog.uri}'")


def test_a_policy_that_takes_every_row_is_told_by_its_name(shapes: Catalog) -> None:
    words = ["--data.catalog", shapes.uri, "--data.filter", "license = 'unknown'"]
    with pytest.raises(
        TrainingError, match=r"24 rows, 24 with fetch_status = 'ok', 0 with license = 'unknown'$"
    ):
        make_task(load_recipe("xs-autoencoder", words))
    allowed = licenses.sql_filter(licenses.Policy.COMMERCIAL)
    assert left_after(shapes, [FETCHED, allowed]) == [24, 24]
    assert why_none(shapes, [FETCHED, allowed, "label = 'none'"]) == (
        "no row matches: 24 rows, 24 with fetch_status = 'ok', 24 with license IN (commercial licences), "
        "0 with label = 'none'"
    )


def test_no_caption_has_a_reason(
    shapes: Catalog, captioner: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CaptionerConfig(str(captioner), "xs")

    def said(where: str) -> str:
        capsys.readouterr()
        caption(shapes.uri, config, where=where)
        return capsys.readouterr().err.splitlines()[-1]

    said("label IS NULL")
    assert said("label IS NULL") == "caption: nothing to do; 12 rows have it already"
    assert said("title = 'none'").endswith("0 with title = 'none'")
    shapes.refresh()
    shapes.dataset.update({"label": "title"})
    assert said("label IS NULL").endswith("human text; use --where true to caption them anyway")


@pytest.mark.parametrize("policy", list(licenses.Policy))
@pytest.mark.parametrize("allowed", [False, True])
@given(other=st.sampled_from(["true", "license = 'x'", "a IN ('b', 'c')"]))
def test_a_policys_list_of_licences_is_its_name_and_comes_back(
    policy: licenses.Policy, allowed: bool, other: str
) -> None:
    condition = f"({other}) AND ({licenses.sql_filter(policy, allowed)})"
    assert len(licenses.named(condition)) < 100 and policy in licenses.named(condition)
    assert licenses.spelled_out(licenses.named(condition)) == condition


def test_a_list_of_another_version_of_the_policy_is_told_by_its_length() -> None:
    older = licenses.sql_filter(licenses.Policy.COMMERCIAL).replace("'CC0-1.0', ", "")
    assert licenses.shortened(f"({older}) AND (a IN ('b', 'c'))") == (
        "(license IN (213 values)) AND (a IN ('b', 'c'))"
    )


def test_the_record_of_a_model_names_the_policy_and_finds_the_same_rows(
    shapes: Catalog, captioner: Path
) -> None:
    record = read_provenance(captioner)
    assert "license IN (noncommercial licences)" in record["catalogs"]["main"]["filter"]
    assert len(json.dumps(record["catalogs"]["main"])) < 1000
    pinned = Catalog.open(shapes.uri, record["catalogs"]["main"]["tag"])
    assert pinned.count(filter_of(record["catalogs"]["main"])) == sum(
        record["rows"][split] for split in ("train", "heldout", "unused")
    )


def test_rows_that_came_after_a_filter_are_not_counted_as_its_duplicates(shapes: Catalog) -> None:
    from commoncanvas.images.image import encode_image

    shapes.dataset.update({"sha256": "image_id"})
    shapes.refresh()
    curate(shapes, deduplicate=True, name="v1")
    before = stats(shapes).dropped.filters[0].steps
    assert "not curated" not in [step.name for step in before]
    image = encode_image(drawing("red", "square"), "png")
    row: dict[str, Any] = {"source": "late", "license": "CC0-1.0", "fetch_status": "ok", "image": image}
    shapes.add([to_batch([row | {"image_id": f"late:{number}"} for number in range(5)])])
    found = stats(shapes).dropped
    (line,) = [line for line in dropped_lines(found) if line.startswith("filter v1")]
    assert "not curated −5 C, −5 NC" in line
    assert [step for step in found.filters[0].steps if step.name != "not curated"] == list(before)
