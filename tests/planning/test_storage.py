import hashlib
from pathlib import Path

import pytest

from commoncanvas.catalog import Catalog
from commoncanvas.config import DiffusionRecipe, load_recipe
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.planning.parts import Latents, latents_of, text_states_of
from commoncanvas.planning.storage import columns_of, count_rows
from commoncanvas.table.schema import to_batch
from tests.encoding import models
from tests.training.tiny import recipe


def tiny(folder: Path, model: str, *overrides: str) -> DiffusionRecipe:
    words = ["--vae", model, "--text_encoder", model, "--size", "32", *overrides]
    made = recipe("xs", folder, *words)
    assert isinstance(made, DiffusionRecipe)
    return made


def test_a_recipe_of_the_package_can_be_planned_before_its_autoencoder_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = load_recipe("xs")
    assert isinstance(planned, DiffusionRecipe)
    assert latents_of(planned) == Latents(channels=8, downsampling=4)
    with pytest.raises(RecipeError, match="vae other/xs-autoencoder is not a folder"):
        latents_of(planned.model_copy(update={"vae": "other/xs-autoencoder"}))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (models.sd2, []),
        (models.sd2, ["--encode.storage", "fp8", "--encode.flipped", "true"]),
        (models.sdxl, ["--encode.posterior", "mean_std", "--encode.flipped", "true"]),
        (models.sdxl, ["--encode.storage", "fp8", "--encode.buckets", "8"]),
        (models.sd2, ["--data.text", "{label: 1, title: 2, caption: 1}"]),
        (models.sd2, ["--alignment.column", "efficientnet_lite0_2", "--alignment.block", "mid_block"]),
    ],
)
def test_columns_are_as_many_and_as_large_as_those_that_encode_writes(
    shapes: Catalog, tmp_path: Path, model: object, words: list[str]
) -> None:
    assert callable(model)
    planned = tiny(tmp_path, model(tmp_path / "model"), *words)
    latents, text = latents_of(planned), text_states_of(planned)
    mixed = planned.data.text_mix is not None
    before = columns_of(planned, latents, text, shapes if mixed else None)
    old = set(shapes.schema.names)
    encode(planned)

    catalog = Catalog.open(planned.data.catalogs["main"].catalog)
    assert {column.name for column in before} == set(catalog.schema.names) - old
    for column in before:
        table = catalog.table([column.name], f"{column.name} IS NOT NULL")
        values = table[column.name].combine_chunks()
        if column.name.endswith("_of"):
            assert column.bytes_per_row == len(hashlib.md5(b"").hexdigest())
        else:
            assert column.bytes_per_row == values.flatten().nbytes / len(values)

    on_disk = columns_of(planned, latents, text, catalog)
    for reckoned, measured in zip(before, on_disk, strict=True):
        assert reckoned.measured_rows == 0
        assert measured.measured_rows == len(catalog)
        if not measured.name.endswith(("_of", "_crop")):  # these are compressed; the others are padded
            assert measured.bytes_per_row == pytest.approx(reckoned.bytes_per_row, rel=0.2, abs=8)


def test_a_column_is_measured_over_the_rows_that_have_a_place_in_its_files(
    shapes: Catalog, tmp_path: Path
) -> None:
    """Of a catalog that was encoded in part, nobody's share is reckoned twice or spread over rows not done yet."""
    planned = tiny(tmp_path, models.sd2(tmp_path / "model"))
    encode(planned)
    late = [
        {"image_id": f"late:{number}", "source": "late", "license": "CC0-1.0", "image": b"none"}
        for number in range(100)
    ]
    catalog = Catalog.open(planned.data.catalogs["main"].catalog)
    catalog.add([to_batch(late)])
    catalog = Catalog.open(planned.data.catalogs["main"].catalog)
    whole = columns_of(planned, latents_of(planned), text_states_of(planned))
    for reckoned, found in zip(
        whole, columns_of(planned, latents_of(planned), text_states_of(planned), catalog), strict=True
    ):
        assert found.measured_rows == len(shapes)
        if not found.name.endswith(("_of", "_crop")):
            assert found.bytes_per_row == pytest.approx(reckoned.bytes_per_row, rel=0.2, abs=8)


def test_rows_are_those_that_the_recipe_chooses(shapes: Catalog, tmp_path: Path) -> None:
    model = models.sd2(tmp_path / "model")
    assert count_rows(tiny(tmp_path, model), shapes, "main") == 12  # half of them have a label
    assert count_rows(tiny(tmp_path, model, "--data.text", "[title]"), shapes, "main") == 24
    assert count_rows(tiny(tmp_path, model, "--data.text", "[nothing_yet]"), shapes, "main") == 24
    red = tiny(tmp_path, model, "--data.text", "[title]", "--data.filter", "title LIKE 'red%'")
    assert count_rows(red, shapes, "main") == 4


@pytest.mark.parametrize("made", [models.t5, models.gemma])
def test_single_encoders_in_folders_of_their_own_are_read(tmp_path: Path, made: object) -> None:
    assert callable(made)
    planned = tiny(tmp_path, made(tmp_path / "encoder"))
    assert text_states_of(planned).width == 32
    assert text_states_of(planned).pooled == 0


def test_a_deep_vae_is_read(tmp_path: Path) -> None:
    models.deep_vae().save_pretrained(tmp_path / "vae")
    found = latents_of(tiny(tmp_path, str(tmp_path / "vae")))
    assert (found.channels, found.downsampling) == (8, 32)
