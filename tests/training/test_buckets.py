"""Aspect ratios in training: a batch is of one, each has its share of the steps, and its rows run through in epochs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from commoncanvas.catalog import Catalog
from commoncanvas.core.errors import RecipeError
from commoncanvas.encoding.command import encode
from commoncanvas.images.image import decode
from commoncanvas.models.vae import load_vae, to_pixels
from commoncanvas.training.distributed.ranks import Ranks
from commoncanvas.training.flops import sample_flops
from commoncanvas.training.loader import Loader
from commoncanvas.training.log import read_log
from commoncanvas.training.task import HALFWAY, first_batch
from commoncanvas.training.tasks.diffusion import DiffusionTask
from commoncanvas.training.tasks.make import make_task
from commoncanvas.training.trainer import train
from tests.training.test_family import xl
from tests.training.test_trainer import same_bits
from tests.training.tiny import SIDES, recipe, stopping_at

BUCKETS = ("--encode.buckets", "8", "--data.heldout_fraction", "0", "--train.batch_size", "4")
CPU = torch.device("cpu")


def test_a_batch_is_of_one_aspect_ratio_and_each_runs_through_its_epochs(
    oblongs: Catalog, tmp_path: Path
) -> None:
    made = recipe("xs", tmp_path, *BUCKETS)
    encode(made)
    task = make_task(made)
    loader = Loader(task, made, Ranks(0, 1, CPU))
    kinds = task.rows.kinds_of("train")
    assert sorted(Counter(kinds).values()) == sorted(SIDES.values())
    seen: list[list[int]] = [[] for _ in SIDES]
    for step in range(240):
        positions = loader.samples(step).positions
        (kind,) = set(kinds[positions])
        seen[kind].extend(positions)
    for kind, positions in enumerate(seen):
        own = np.flatnonzero(kinds == kind)
        assert abs(len(positions) / 960 - len(own) / 24) < 0.02
        for epoch in np.array_split(positions, range(len(own), len(positions), len(own))):
            assert len(set(epoch)) == len(epoch)
            assert len(epoch) < len(own) or set(epoch) == set(own)


@pytest.mark.slow
def test_a_steps_flops_are_those_of_its_own_shape(
    oblongs: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recipe("xs", tmp_path, *BUCKETS, "--train.precision", "fp32", "--train.steps", "12")
    encode(made)
    monkeypatch.setattr("commoncanvas.training.trainer.peak_flops", lambda *_: 1e12)
    train(made)
    task = make_task(made)
    loader, kinds = Loader(task, made, Ranks(0, 1, CPU)), task.rows.kinds_of("train")
    flops = [sample_flops(task, task.model, first_batch(task, 1, kind=kind)) for kind in range(len(SIDES))]
    assert len(set(flops)) > 1
    for entry in read_log(tmp_path / "xs-run" / "log.jsonl"):
        (kind,) = set(kinds[loader.samples(int(entry["step"]) - 1).positions])
        assert entry["mfu"] / entry["images_per_s"] == pytest.approx(flops[kind] / 1e12)


STORED = ("--encode.posterior", "mean_std", "--encode.flipped", "true")


@pytest.mark.parametrize("words", [(), STORED, (*STORED, "--encode.storage", "fp8")])
def test_a_batch_has_the_latents_of_its_images_in_their_shape(
    oblongs: Catalog, tmp_path: Path, words: tuple[str, ...]
) -> None:
    made = recipe("xs", tmp_path, *BUCKETS, *words)
    encode(made)
    task = make_task(made)
    assert isinstance(task, DiffusionTask)
    vae = load_vae(made.vae)  # type: ignore[union-attr]
    loader = Loader(task, made, Ranks(0, 1, CPU))
    shapes = set()
    for step, batch in loader.batches(0, 6):
        ids = loader.ids[loader.samples(step).positions]
        images = np.stack([decode(data) for data in oblongs.take(ids, ["image"])["image"].to_pylist()])
        with torch.no_grad():
            wanted = vae.encode(to_pixels(torch.from_numpy(images))).latent_dist
        found = batch["latents"]
        if words:
            torch.testing.assert_close(found[:, 0, 1].float(), wanted.std, rtol=0.08, atol=0.05)
            found = found[:, 0, 0]
        torch.testing.assert_close(found.float(), wanted.mean, rtol=0.08, atol=0.05)
        drawn = task.random_inputs(4, batch, torch.Generator().manual_seed(0), HALFWAY)
        assert drawn["noise"].shape == found.shape
        assert torch.isfinite(task.loss(task.model, batch | drawn))
        shapes.add(tuple(found.shape[-2:]))
    assert shapes == {(height // 4, width // 4) for height, width in SIDES}


def test_processes_share_out_a_batch_of_one_aspect_ratio(oblongs: Catalog, tmp_path: Path) -> None:
    made = recipe("xs", tmp_path, *BUCKETS)
    encode(made)
    task = make_task(made)
    (whole,), *parts = (
        [[batch["latents"] for _, batch in Loader(task, made, Ranks(rank, world, CPU)).batches(3, 9)]
         for rank in range(world)]
        for world in (1, 2, 4)
    )  # fmt: skip
    for ranks in parts:
        for step, latents in enumerate(whole):
            assert torch.equal(torch.cat([rank[step] for rank in ranks]), latents)


@pytest.mark.slow
def test_a_run_in_buckets_stops_and_goes_on_and_makes_an_ordinary_pipeline(
    oblongs: Catalog, tmp_path: Path
) -> None:
    words = (*BUCKETS, "--data.heldout_fraction", "0.5", "--train.validate_every", "2")
    whole = recipe("xs", tmp_path, *words)
    encode(whole)
    heldout = make_task(whole).rows.kinds_of("heldout")
    assert len(set(heldout)) > 1
    folder = train(whole)
    parted = recipe("xs", tmp_path, *words, "--out", str(tmp_path / "parted"))
    with stopping_at(2):
        train(parted)
    assert same_bits(folder, train(parted, resume=True))
    log = read_log(tmp_path / "xs-run" / "log.jsonl")
    assert len([entry for entry in log if "validation_loss" in entry]) == 3
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    assert pipeline("a dot", num_inference_steps=1, output_type="pt").images.shape == (1, 3, 16, 16)
    wide = pipeline("a dot", height=8, width=24, num_inference_steps=1, output_type="pt").images
    assert wide.shape == (1, 3, 8, 24)


def test_sdxl_is_told_of_each_samples_own_crop(oblongs: Catalog, tmp_path: Path) -> None:
    made = xl(tmp_path, *BUCKETS)
    encode(made)
    task = make_task(made)
    crops = [batch["crop"] for _, batch in Loader(task, made, Ranks(0, 1, CPU)).batches(0, 6)]
    assert {tuple(row) for rows in crops for row in rows.tolist()} == {
        (height, width, 0, 0, height, width) for height, width in SIDES
    }
    train(made)


def test_what_buckets_can_not_be_had_with_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.shuffle .* encode\.buckets .* leave one of them out"):
        recipe("xs", tmp_path, *BUCKETS, "--data.shuffle.block", "2", "--data.shuffle.buffer", "4")
    with pytest.raises(RecipeError, match=r"train\.compile .* encode\.buckets .*leave one of them out"):
        recipe("xs", tmp_path, *BUCKETS, "--train.compile", "true")
