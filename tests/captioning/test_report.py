"""The report on a column of captions, what rules take out of it, and the CLIP score."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from commoncanvas.captioning import CaptionerConfig, caption
from commoncanvas.captioning.quality.clip import ClipModel
from commoncanvas.captioning.quality.drop import DropStage, drop_captions
from commoncanvas.captioning.quality.fitting import BLOCK, fit
from commoncanvas.captioning.quality.report import TextSurvey, caption_report
from commoncanvas.catalog import Catalog
from commoncanvas.cli import main
from commoncanvas.core.errors import CatalogError, ModelError
from commoncanvas.pages.captions_page import write_captions_page
from commoncanvas.table.columns import ColumnInfo
from tests.captioning import models
from tests.conftest import COLOURS, SHAPES, drawing

INFO = ColumnInfo(
    "1" * 64, (("image", None),), (), "writer", settings={"prompt": "What is it?"}, revision="abc"
)


class Writer:
    """A stage that writes captions from titles by a function."""

    name, reads, batch_size, done_column = "written", ("title",), 100, "caption_status"
    todo = "caption_status IS NULL"

    def __init__(self, write: Any) -> None:
        import pyarrow as pa

        self.write = write
        self.writes = tuple(INFO.field(name, pa.string()) for name in ("caption", "caption_status"))

    def setup(self) -> None:
        """Nothing to load."""

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        said = [self.write(title) for title in batch["title"].to_pylist()]
        return pa.RecordBatch.from_arrays(
            [pa.array(said, pa.string()), pa.array(["ok"] * len(said))], names=["caption", "caption_status"]
        )


def written(catalog: Catalog, write: Any) -> Catalog:
    catalog.backfill(Writer(write))
    return Catalog.open(catalog.uri)


def test_the_report_counts_what_is_there(shapes: Catalog) -> None:
    def write(title: str) -> str:
        if title.startswith("red"):
            return "a photo of red"
        return f"{title} {title} {title}" if title.startswith("blue") else f"the {title}"

    catalog = written(shapes, write)
    red, blue = (catalog.count(f"title LIKE '{colour}%'") for colour in ("red", "blue"))
    found = caption_report(catalog, sample=1000)
    assert (found.rows, found.captions, found.statuses) == (24, 24, {"ok": 24})
    assert found.made_by == {
        "model": "writer",
        "revision": "abc",
        "weights": "1" * 12,
        "prompt": "What is it?",
    }
    said = [row or "" for row in catalog.table(["caption"])["caption"].to_pylist()]
    assert found.distinct == len(set(said))
    assert found.shared == sum(said.count(one) > 1 for one in said)
    assert found.top_captions["a photo of red"] == red
    assert found.top_boilerplate == {"a photo of": red} and found.not_ascii == 0
    assert found.taken_by == {"empty": 0, "repeats": blue, "boilerplate": red, "leftovers": 0}
    assert found.words_mean == pytest.approx(np.mean([len(one.split()) for one in said]))
    assert found.vocabulary == len({word for one in said for word in one.split()})
    assert found.human is not None and found.human.rows == 24
    assert found.human.matched > found.human.shuffled and found.human.retrieval > found.human.chance
    assert len(found.best) == len(found.worst) == 12 and found.best[0].score >= found.worst[0].score
    again = caption_report(catalog, sample=10, seed=1)
    assert again.human is not None and again.human.rows == 10 and again.captions == 24


def test_a_report_of_nothing_and_of_no_column(shapes: Catalog, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="caption"):
        caption_report(shapes)
    found = caption_report(written(shapes, lambda title: None))
    assert (found.captions, found.human, found.best) == (0, None, ())
    write_captions_page(found, tmp_path / "page.html")
    assert "0 captions" in (tmp_path / "page.html").read_text()
    with pytest.raises(CatalogError, match="sample 1"):
        caption_report(shapes, sample=1)
    with pytest.raises(CatalogError, match="seed -1"):
        caption_report(shapes, seed=-1)
    with pytest.raises(CatalogError, match=r"column width of .* contains int32, not text"):
        caption_report(shapes, column="width")


def test_hostile_captions_stay_text_on_the_page(shapes: Catalog, tmp_path: Path) -> None:
    catalog = written(shapes, lambda title: f"{title} <script>alert(1)</script>\u202e\"'&")
    write_captions_page(caption_report(catalog), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "\u202e" not in page
    for number in range(24):  # each is among the best or the worst, with its id and who made it
        assert page.count(f"<code>shapes:{number:02}</code>") == 1
    assert all(page.count(f"painter {number}") == 8 for number in range(3))


def test_an_image_that_cannot_be_read_costs_its_row_not_the_report(
    shapes: Catalog, clip: Path, tmp_path: Path
) -> None:
    catalog = written(shapes, lambda title: title)
    catalog.dataset.update({"image": "X'00ff'"}, where="title = 'red bar'")
    found = caption_report(shapes.uri, clip=ClipModel(str(clip), device="cpu"))
    assert found.clip is not None and (found.sample, found.clip.rows) == (24, 23)
    write_captions_page(found, tmp_path / "page.html")
    assert "1 of 24 random captions (seed 0) have an unreadable image" in (tmp_path / "page.html").read_text()


def test_how_well_things_fit_is_their_cosine_beside_that_of_others() -> None:
    draw = np.random.default_rng(0)
    first = draw.standard_normal((50, 8)).astype(np.float32)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    found, cosines = fit(first, first)
    assert found.matched == pytest.approx(1) and found.retrieval == 1 and found.chance == 0.02
    others = [float(first[i] @ first[j]) for i in range(50) for j in range(50) if i != j]
    assert found.shuffled == pytest.approx(np.mean(others), abs=1e-6)
    assert cosines == pytest.approx(np.ones(50))
    same = np.repeat(first[:1], 50, axis=0)  # one caption for all: the nearest by chance alone
    assert fit(first, same)[0].retrieval == pytest.approx(1 / 50)
    rolled, _ = fit(first, np.roll(first, 1, axis=0))
    assert rolled.retrieval == 0 and rolled.matched < 0.5


def test_clip_scores_below_zero_count_as_zero_in_the_baseline_as_in_the_score() -> None:
    images = np.array([[1, 0], [-1, 0]], np.float32)
    found, cosines = fit(images, np.array([[1, 0], [1, 0]], np.float32), factor=100, least=0)
    assert cosines.tolist() == [1, -1]  # by which they are ranked, below zero too
    # Of the two shuffled pairs one is opposite (0), one the same (100); the mean of their cosines is 0.
    assert (found.matched, found.shuffled) == (50, 50)


def test_a_sample_of_several_blocks_fits_as_all_pairs_at_once_would() -> None:
    draw = np.random.default_rng(1)
    first, second = (draw.standard_normal((BLOCK + 77, 6)).astype(np.float32) for _ in range(2))
    second += first
    first, second = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (first, second))
    found, _ = fit(first, second)
    cosines = first.astype(np.float64) @ second.astype(np.float64).T
    own = np.diag(cosines)
    count = len(own)
    assert found.matched == pytest.approx(own.mean())
    assert found.shuffled == pytest.approx((cosines.sum() - own.sum()) / (count * (count - 1)))
    assert found.retrieval == pytest.approx((cosines.argmax(1) == np.arange(count)).mean(), abs=2 / count)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small CLIP, taught the shapes, saved as open_clip saves its models."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    torch.manual_seed(0)
    network = open_clip.CLIP(**config)
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    names = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    pixels = torch.stack(
        [torch.from_numpy(drawing(*name).copy()).permute(2, 0, 1) / 127.5 - 1 for name in names]
    )
    tokens = tokenizer([" ".join(name) for name in names])
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for _ in range(60):
        images, texts, scale = network(pixels, tokens)
        logits = scale * images @ texts.T
        cross_entropy, own = torch.nn.functional.cross_entropy, torch.arange(len(names))
        loss = cross_entropy(logits, own) + cross_entropy(logits.T, own)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    half = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": half}))
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def test_the_clip_score_tells_right_captions_from_wrong_ones(shapes: Catalog, clip: Path) -> None:
    catalog = written(shapes, lambda title: "green dot" if title.startswith("red") else title)
    wrong = set(catalog.table(["title"], "title LIKE 'red%'", with_row_id=True)["_rowid"].to_pylist())
    found = caption_report(catalog, clip=ClipModel(str(clip), device="cpu"))
    assert found.clip is not None and found.ranked_by == "CLIP score"
    assert found.clip.matched > found.clip.shuffled + 5
    assert found.clip.retrieval > 5 * found.clip.chance
    assert {one.row_id for one in found.worst[: len(wrong)]} == wrong
    assert not wrong & {one.row_id for one in found.best}
    assert {one.caption for one in found.worst[: len(wrong)]} == {"green dot"}
    assert found.clip_model == clip.name  # a page that is handed on doesn't say where it was


def test_a_clip_model_that_cannot_be_loaded_is_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"CLIP model .* can't be loaded"):
        ClipModel(str(tmp_path))
    with pytest.raises(ModelError, match="is not a folder; give a folder"):
        ClipModel("ViT-B-32")
    with pytest.raises(ModelError, match="can't be loaded"):
        ClipModel("no-such-model", "no-such-tag")
    folder = tmp_path / "clip"
    shutil.copytree(clip, folder)
    weights = folder / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="can't be loaded"):
        ClipModel(str(folder))
    weights.unlink()  # open_clip would go on with random weights
    with pytest.raises(ModelError, match="could not be loaded"):
        ClipModel(str(folder))


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("sprung"),)


def test_loading_a_clip_model_runs_no_code_of_its_own(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clip"
    shutil.copytree(clip, folder)
    (folder / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": {"trap": Trap()}}, folder / "open_clip_pytorch_model.bin")
    with pytest.raises(ModelError, match="can't be loaded"):
        ClipModel(str(folder))
    assert not (tmp_path / "sprung").exists()

    shutil.rmtree(folder)
    shutil.copytree(clip, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"] |= {
        "hf_tokenizer_name": "its own",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": [None, "trap.Tokenizer"]}, "tokenizer_class": "Tokenizer"})
    )
    (folder / "trap.py").write_text("open('sprung', 'w')")
    with pytest.raises(ModelError, match="trust_remote_code"):
        ClipModel(str(folder))
    assert not (tmp_path / "sprung").exists()

    # Nor if somebody were to say y, were it asked.
    config["model_cfg"]["text_cfg"] |= {"hf_tokenizer_name": str(folder), "tokenizer_kwargs": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))
    with pytest.raises(ModelError, match="can't be loaded"):
        ClipModel(str(folder))
    assert not (tmp_path / "sprung").exists()


def test_rules_take_captions_out_and_say_how_many(shapes: Catalog) -> None:
    catalog = written(shapes, lambda title: f"a photo of {title}" if title.startswith("red") else title)
    red = catalog.count("title LIKE 'red%'")
    rules = ["boilerplate", "min-words=2", "max-words=4"]
    counted = drop_captions(catalog.uri, rules, dry_run=True)
    assert counted.dropped == red and Catalog.open(catalog.uri).version == catalog.version
    report = drop_captions(catalog.uri, rules)
    assert report.taken_by == {"boilerplate": red, "min-words=2": 0, "max-words=4": red}
    assert report.taken_in_order == {"boilerplate": red, "min-words=2": 0, "max-words=4": 0}
    assert (report.captions, report.dropped, report.left) == (24, red, 24 - red)
    after = Catalog.open(catalog.uri)
    assert after.count("caption IS NULL AND caption_status = 'dropped_boilerplate'") == red
    assert after.count("caption = title AND caption_status = 'ok'") == 24 - red
    assert drop_captions(catalog.uri, rules).dropped == 0
    assert Catalog.open(catalog.uri, version=catalog.version).count("caption IS NOT NULL") == 24
    assert ColumnInfo.of(after.schema.field("caption")) == INFO


def test_captions_far_from_their_images_are_dropped_and_the_scores_of_the_others_kept(
    shapes: Catalog, clip: Path
) -> None:
    catalog = written(shapes, lambda title: "green dot" if title.startswith("red") else title)
    catalog.dataset.update({"image": "X'00ff'"}, where="title = 'blue bar'")
    model = ClipModel(str(clip), device="cpu")
    red = catalog.count("title LIKE 'red%'")
    found = caption_report(catalog.uri, clip=model)
    limit = (found.worst[red - 1].score + found.worst[red].score) / 200
    counted = drop_captions(catalog.uri, [], min_clip=limit, clip=model, dry_run=True)
    assert counted.dropped == red
    assert "caption_clip" not in Catalog.open(catalog.uri).schema.names
    report = drop_captions(catalog.uri, ["empty", "max-words=3"], min_clip=limit, clip=model)
    assert report.taken_in_order == {"empty": 0, "max-words=3": 0, f"min-clip={limit:g}": red}
    after = Catalog.open(catalog.uri)
    assert after.count("caption_status = 'dropped_min_clip' AND title LIKE 'red%'") == red
    assert after.count("caption_clip IS NULL") == red  # made of captions that are gone
    assert after.count("isnan(caption_clip) AND caption IS NOT NULL AND title = 'blue bar'") == 1
    by_image = {one.image_id: one.score for one in found.best}
    for row in after.table(["image_id", "caption_clip"], "caption_clip > 0").to_pylist():
        if row["image_id"] in by_image:
            assert 100 * row["caption_clip"] == pytest.approx(by_image[row["image_id"]], abs=1e-3)
    made = ColumnInfo.of(after.schema.field("caption_clip"))
    assert made is not None and made.sources == (("image", None), ("caption", INFO.sha256))
    # Another limit reads the scores that are there; an image was never looked at again.
    assert drop_captions(catalog.uri, [], min_clip=1.0, clip=model).left == 1


def test_what_cannot_be_dropped_is_refused_with_what_to_do(shapes: Catalog, clip: Path) -> None:
    with pytest.raises(CatalogError, match="--clip alone drops nothing; also give --min-clip"):
        drop_captions(shapes.uri, ["empty"], clip=ClipModel(str(clip), device="cpu"))
    with pytest.raises(CatalogError, match=r"title of .* has no column title_status"):
        drop_captions(shapes.uri, ["empty"], column="title")
    with pytest.raises(CatalogError, match="no rule was given; the rules are: empty"):
        drop_captions(shapes.uri, [])
    with pytest.raises(CatalogError, match="a model: --clip"):
        drop_captions(shapes.uri, [], min_clip=0.2)


def test_dropping_that_is_killed_is_finished_by_the_next(
    shapes: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = written(shapes, lambda title: title)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):

        def killed(self: DropStage, batch: Any) -> Any:
            raise KeyboardInterrupt

        patched.setattr(DropStage, "__call__", killed)
        drop_captions(catalog.uri, ["min-words=3"])
    assert Catalog.open(catalog.uri).count("caption IS NOT NULL") == 24
    assert drop_captions(catalog.uri, ["min-words=3"], where="title LIKE 'red%'").dropped > 0
    drop_captions(catalog.uri, ["min-words=3"])
    assert Catalog.open(catalog.uri).count("caption IS NOT NULL") == 0


def test_what_was_dropped_can_be_written_anew(shapes: Catalog, tmp_path: Path) -> None:
    config = CaptionerConfig(
        models.llava(tmp_path / "llava"), "vlm", max_tokens=4, precision="fp32", device="cpu"
    )
    assert caption(shapes.uri, config, where=None).captions == 24
    dropped = drop_captions(shapes.uri, ["max-words=0"]).dropped
    assert dropped > 0
    assert caption(shapes.uri, config, where=None).captions == 0
    assert caption(shapes.uri, config, where=None, retry=["dropped_max_words"]).captions == dropped


def test_a_survey_of_many_words_measures_stretches_of_ten_thousand() -> None:
    survey = TextSurvey()
    survey.add([" ".join(f"w{(11 * place + n) % 500}" for n in range(11)) for place in range(4000)])
    assert survey.stretch == 500 and len(survey.vocabulary) == 500 and survey.captions == 4000


def test_the_commands_print_what_the_calls_return(
    shapes: Catalog,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["commoncanvas", "caption", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    written(shapes, lambda title: title)
    capsys.readouterr()
    words = ["report", "--catalog", shapes.uri, "--html", str(tmp_path / "c.html"), "--clip", str(clip)]
    printed = json.loads(said(*words, "--json"))
    assert printed["captions"] == printed["clip"]["rows"] == 24 and (tmp_path / "c.html").exists()
    assert printed["best"][0].keys() == {"row_id", "image_id", "caption", "score"}
    text = said(*words)
    assert "24 captions of 24 fetched images" in text and "CLIP score by" in text
    words = ["drop", "--catalog", shapes.uri, "--rules", "empty,min-words=9", "--dry-run", "--json"]
    assert json.loads(said(*words))["dropped"] == 24
