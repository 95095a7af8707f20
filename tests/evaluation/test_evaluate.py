"""`evaluate` on a real catalog and a real (tiny, untrained) diffusers folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from commoncanvas.captioning import Caption
from commoncanvas.catalog import Catalog, takedown
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.evaluation import Evaluation, evaluate
from commoncanvas.evaluation.prompts import choose_prompts
from commoncanvas.provenance.folder import read_rows, without_taken_down
from commoncanvas.table.columns import ColumnInfo

from .conftest import HELDOUT, NAMES, SIZE, decoded


@pytest.fixture(scope="module")
def done(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return evaluate(
        str(model), samples=6, out=str(tmp_path_factory.mktemp("out")), batch_size=4, device="cpu"
    )


def test_every_figure_stands_beside_its_baseline(done: Evaluation) -> None:
    figures = done.figures()
    assert done.seen.prompts == 6 and done.heldout is not None and done.heldout.prompts == len(HELDOUT)
    assert figures["retrieval_chance"] == 1 / 6 and figures["retrieval_chance_heldout"] == 1 / 5
    for suffix in ("", "_heldout"):
        for distance in ("fd", "kd"):
            values = [figures[f"{distance}{kind}{suffix}"] for kind in ("", "_reconstruction", "_noise")]
            assert all(value is not None and value > 0 for value in values), values
        low, high = figures[f"retrieval_low{suffix}"], figures[f"retrieval_high{suffix}"]
        share = figures["retrieval_heldout" if suffix else "retrieval_seen"]
        assert low is not None and high is not None and share is not None and low <= share <= high
    assert figures["roundtrip_cosine"] is None
    assert (done.guidance_scale, done.steps, done.feature_extractor) == (2.0, 3, "efficientnet-lite0")


def test_images_prompts_and_figures_are_written_down(done: Evaluation) -> None:
    folder = Path(done.out)
    written = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(done.to_dict()))
    for sample in (*done.seen_samples, *done.heldout_samples):
        assert (
            decoded(folder / sample.file).shape == decoded(folder / sample.real_file).shape == (SIZE, SIZE, 3)
        )
        assert sample.prompt == NAMES[sample.image_id.removeprefix("openmoji:")]
    assert {sample.kind for sample in done.heldout_samples} == {"heldout"}
    labelled = list(NAMES)[1::2]
    for sample in done.seen_samples:
        human = sample.image_id.removeprefix("openmoji:") in labelled
        assert sample.kind == ("human" if human else "synthetic")
    assert (folder / "seen.jpg").is_file() and (folder / "heldout.jpg").is_file()


def test_an_image_is_the_plain_pipelines_whatever_its_batch(done: Evaluation, model: Path) -> None:
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    for sample in done.seen_samples[3:5]:
        generator = torch.Generator("cpu").manual_seed(sample.seed)
        alone = pipeline(
            sample.prompt, generator=generator, guidance_scale=2.0, num_inference_steps=3
        ).images[0]
        difference = decoded(Path(done.out) / sample.file).astype(int) - np.asarray(alone)
        assert np.abs(difference).max() <= 1  # the last bit of a sum may depend on the batch's shape


def test_the_same_call_gives_the_same_evaluation(done: Evaluation, model: Path, tmp_path: Path) -> None:
    again = evaluate(str(model), samples=6, out=str(tmp_path), batch_size=4, device="cpu")
    assert again.figures() == done.figures()
    assert again.seen_samples == done.seen_samples


class Parrot:
    """A captioner that says what it should have seen, for all but the first image."""

    info = ColumnInfo("0" * 64, (), (), "parrot")
    batch_size = 8

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def prepare(self, image: bytes) -> bytes:
        return image

    def caption(self, prepared: Any, ids: Any) -> list[Caption]:
        said, self.said = self.said[: len(prepared)], self.said[len(prepared) :]
        return [Caption(text) for text in ("rocket", *said[1:])]


def test_the_round_trip_compares_captions_with_prompts(
    done: Evaluation, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [sample.prompt for sample in (*done.seen_samples, *done.heldout_samples)]
    monkeypatch.setattr("commoncanvas.captioning.load_captioner", lambda config: Parrot(said))
    told = evaluate(str(model), samples=6, out=str(tmp_path), steps=1, captioner="parrot", device="cpu")
    assert told.captioner == "parrot" and told.steps == 1
    assert told.seen_samples[0].caption == "rocket" and told.seen_samples[1].caption == said[1]
    for figures in (told.seen, told.heldout):
        assert figures is not None and figures.roundtrip_cosine is not None
        assert figures.roundtrip_cosine_shuffled is not None
        assert 0.8 < figures.roundtrip_cosine < 1.001 and figures.roundtrip_cosine_shuffled < 0.6


def test_one_prompt_is_enough_though_it_has_no_distance(model: Path, tmp_path: Path) -> None:
    one = evaluate(str(model), samples=1, out=str(tmp_path), device="cpu")
    assert one.seen.fd is None and one.seen.retrieval == 1


def test_another_network_measures_the_same_images(
    done: Evaluation, model: Path, tmp_path: Path, clip: Path
) -> None:
    other = evaluate(str(model), samples=6, out=str(tmp_path), device="cpu", features=f"clip-vit-b-32:{clip}")
    assert other.feature_extractor == "clip-vit-b-32" and other.feature_sha256 != done.feature_sha256
    assert other.seen.fd is not None and other.seen.fd != done.seen.fd
    assert "clip-vit-b-32" in str(other) and "efficientnet-lite0" in str(done)


def copied(model: Path, to: Path) -> Path:
    return Path(shutil.copytree(model, to / "model"))


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("provenance.json", "no provenance.json"),
        ("rows.parquet", "no rows.parquet"),
        ("model_index.json", "no model_index.json"),
    ],
)
def test_an_incomplete_folder_is_named(model: Path, tmp_path: Path, missing: str, says: str) -> None:
    folder = copied(model, tmp_path)
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=says) as caught:
        evaluate(str(folder), device="cpu")
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_a_model_of_another_task_is_refused(model: Path, tmp_path: Path) -> None:
    folder = copied(model, tmp_path)
    provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    (folder / "provenance.json").write_text(json.dumps(provenance | {"task": "captioner"}), encoding="utf-8")
    with pytest.raises(ModelError, match="task captioner"):
        evaluate(str(folder), device="cpu")


def test_another_catalog_than_the_models_is_refused(model: Path, catalog: Catalog, tmp_path: Path) -> None:
    from commoncanvas.table.schema import to_batch

    other = Catalog.create(tmp_path / "other.lance")
    other.add([to_batch({"image_id": f"other:{index}", "source": "folder"} for index in range(20))])
    while other.version < catalog.version:
        other.add([to_batch([{"image_id": f"more:{other.version}", "source": "folder"}])])
    with pytest.raises(CatalogError, match="lacks rows that the model was trained on"):
        evaluate(str(model), catalog=other.uri, device="cpu")


def test_a_row_without_its_image_is_named(model: Path, catalog: Catalog, tmp_path: Path) -> None:
    from commoncanvas.table.schema import to_batch

    bare = Catalog.create(tmp_path / "bare.lance")
    ids = catalog.table(["image_id"])["image_id"].to_pylist()
    bare.add([to_batch({"image_id": image_id, "source": "openmoji"} for image_id in ids)])
    bare.add(
        [to_batch([{"image_id": "more:1", "source": "openmoji"}])]
    )  # as many versions as the model's catalog
    with pytest.raises(CatalogError, match="has no image; name the catalog"):
        evaluate(str(model), catalog=bare.uri, device="cpu")


def test_nothing_that_was_taken_down_is_shown_and_its_words_still_count_as_seen(
    catalog: Catalog, model: Path, tmp_path: Path
) -> None:
    shutil.copytree(catalog.uri, tmp_path / "catalog.lance")
    gone = [f"openmoji:{code}" for code in ("1F34E", "2764", "1F98A")]
    takedown(tmp_path / "catalog.lance", id=gone, reason="asked")
    done = evaluate(
        str(model),
        catalog=str(tmp_path / "catalog.lance"),
        samples=12,
        out=str(tmp_path / "out"),
        device="cpu",
    )
    samples = [*done.seen_samples, *done.heldout_samples]
    assert len(samples) == len(NAMES) - 3
    assert not {sample.image_id for sample in samples} & set(gone)
    rows = without_taken_down(
        read_rows(str(model)), {"main": Catalog.open(tmp_path / "catalog.lance", catalog.version)}
    )
    texts = dict(zip(rows["image_id"].to_pylist(), rows["text"].to_pylist(), strict=True))
    same = ["red apple" if image_id == "openmoji:1F34B" else text for image_id, text in texts.items()]
    rows = rows.set_column(rows.schema.get_field_index("text"), "text", pa.array(same))
    heldout = choose_prompts(rows, "heldout", 12, 0)
    assert {prompt.image_id for prompt in heldout} == {
        f"openmoji:{code}" for code in HELDOUT if code not in ("1F98A", "1F34B")
    }
