"""`memorisation` and `sources` on a tiny model: what they compare, write, show and keep."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from commoncanvas.catalog import Catalog, takedown
from commoncanvas.core.errors import ModelError
from commoncanvas.diffusion.batches import Painter
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.images.image import decode
from commoncanvas.memorisation import calibrate
from commoncanvas.memorisation.command import measure_memorisation
from commoncanvas.memorisation.gap import STEPS, prediction_gaps
from commoncanvas.memorisation.learned import Learned
from commoncanvas.memorisation.page import write_memorisation_page
from commoncanvas.memorisation.risk import Risk, most_at_risk
from commoncanvas.memorisation.sources import sources
from commoncanvas.provenance.folder import read_rows


def of_training(model: Path, folder: Path) -> tuple[str, Path]:
    """A training image's id, and its file."""
    rows = read_rows(str(model)).to_pylist()
    row = next(row for row in rows if row["split"] == "train")
    data = Catalog.open(folder / "catalog.lance").take(np.array([row["row_id"]], np.uint64), ["image"])
    Image.fromarray(decode(data["image"][0].as_py())).save(folder / "asked.png")
    return row["image_id"], folder / "asked.png"


@pytest.mark.slow
def test_memorisation_is_measured_written_and_stated_on_the_card(learned: Path, tmp_path: Path) -> None:
    found = measure_memorisation(learned, prompts=6, steps=2)
    written = json.loads((learned / "memorisation/memorisation.json").read_text())
    assert written == json.loads(json.dumps(found.to_dict()))
    assert found.random.of == 6 and len(found.pairs) >= 6
    assert set(found.calibration.copies) == {"cropped", "mirrored", "recompressed", "recoloured"}
    assert all((learned / "memorisation" / pair.file).is_file() for pair in found.pairs)
    assert [pair.similarity for pair in found.pairs] == sorted(
        (pair.similarity for pair in found.pairs), reverse=True
    )
    assert all(
        (pair.copies_of > 0) == (pair.similarity > found.calibration.threshold) for pair in found.pairs
    )
    assert "painter" in found.pairs[0].credit
    card = (learned / "README.md").read_text()
    assert "Memorisation, how often it draws" in card and "not measured. `commoncanvas mem" not in card

    write_memorisation_page(found, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"--id {found.pairs[0].image_id}" in page and "CC BY" in page
    # The second run computes nothing anew, and finds the same.
    column = [name for name in Catalog.open(tmp_path / "catalog.lance").schema.names if "_drawn_" in name]
    version = Catalog.open(tmp_path / "catalog.lance").version
    again = measure_memorisation(learned, prompts=6, steps=2)
    assert len(column) == 1 and Catalog.open(tmp_path / "catalog.lance").version == version
    assert again.pairs == found.pairs


@pytest.mark.slow
def test_a_training_image_is_its_own_nearest_source_until_it_is_taken_down(
    learned: Path, tmp_path: Path
) -> None:
    name, file = of_training(learned, tmp_path)
    (found,) = sources(file, learned, count=3)
    assert found.sources[0].image_id == name and found.sources[0].distance < 0.01
    assert len(found.sources) == 3 and "not that one was made from the other" in found.meaning
    assert "nearer than" in str(found)
    takedown(str(tmp_path / "catalog.lance"), id=(name,), reason="asked")
    (found,) = sources(file, learned, count=3)
    assert name not in {each.image_id for each in found.sources}
    assert measure_memorisation(learned, prompts=2, steps=2).taken_down == 1


def test_too_few_strangers_are_refused(
    learned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "LEAST_STRANGERS", 1000)
    _, file = of_training(learned, tmp_path)
    with pytest.raises(ModelError, match="a threshold needs at least 1000"):
        sources(file, learned)


def test_a_file_that_is_no_image_is_named(learned: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(ModelError, match=r"notes.png can't be read as an image.*give a JPEG"):
        sources(tmp_path / "notes.png", learned)
    with pytest.raises(ModelError, match=r"gone.png can't be read: no such file"):
        sources(tmp_path / "gone.png", learned)


def test_the_gap_is_the_difference_of_the_first_predictions_with_and_without_text(model: Path) -> None:
    pipeline = load_pipeline(str(model))
    painter = Painter(pipeline)
    prompts, seeds = ["red square", "blue dot", "green bar"], [3, 4, 5]
    alone = [
        prediction_gaps(painter, [prompt], seeds=[seed], steps=2)[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    together = prediction_gaps(painter, prompts, seeds=seeds, steps=2)
    assert np.allclose(alone, together, rtol=1e-5) and (together > 0).all()
    # One step, by hand.
    seen = []

    def look(unet, arguments, options, output):  # type: ignore[no-untyped-def]
        seen.append((arguments, options, output))

    handle = pipeline.unet.register_forward_hook(look, with_kwargs=True)
    by_hand = prediction_gaps(painter, ["red square"], seeds=[3], steps=1)
    handle.remove()
    arguments, options, _ = seen[0]
    with torch.no_grad():
        with_text, without = (
            pipeline.unet(
                *(each.chunk(2)[half] if each.ndim else each for each in arguments),
                **{
                    name: value.chunk(2)[half] if isinstance(value, torch.Tensor) and value.ndim else value
                    for name, value in options.items()
                },
            )[0]
            for half in (1, 0)
        )
    assert by_hand[0] == pytest.approx(float((with_text[0] - without[0]).square().mean().sqrt()), rel=1e-4)
    assert STEPS == 3 and not pipeline.unet._forward_hooks


def test_prompts_that_were_seen_most_often_come_first() -> None:
    class Named:
        def __init__(self, image_id: str) -> None:
            self.image_id = image_id

    rare, twice, moved = (
        Risk(Named(name), captions, pictures, gap)  # type: ignore[arg-type]
        for name, captions, pictures, gap in (("a", 1, 1, 0.1), ("b", 9, 2, 0.3), ("c", 1, 1, 0.2))
    )
    assert most_at_risk([rare, twice, moved]) == [twice, moved, rare]
    assert most_at_risk([]) == []


def test_a_table_under_two_names_has_each_stranger_once_and_none_that_was_learned(
    learned: Path, tmp_path: Path
) -> None:
    rows = read_rows(str(learned))
    names = pa.array(["main" if place % 2 else "again" for place in range(len(rows))])
    rows = rows.set_column(rows.column_names.index("catalog"), "catalog", names)
    pq.write_table(rows, learned / "rows.parquet")
    record = json.loads((learned / "provenance.json").read_text())
    record["catalogs"]["again"] = record["catalogs"]["main"]
    found = Learned(str(learned), record, ())
    strangers = [row.row_id for row in found.strangers(1000, 0)]
    trained = rows.filter(pc.equal(rows["split"], "train"))["row_id"].to_pylist()
    assert len(strangers) == len(set(strangers)) >= 60 and not set(strangers) & set(trained)
