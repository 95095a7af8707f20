"""Feature networks: values of the reference implementations, files that are refused, and order over many threads."""

from __future__ import annotations

import hashlib
import io
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from commoncanvas.core.errors import ImageError, ModelError
from commoncanvas.evaluation.image_files import images_in, read_image
from commoncanvas.evaluation.networks import load_network
from commoncanvas.evaluation.networks.network import BATCH


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty JPEGs of different sizes, smooth as photos are."""
    made = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for number in range(20):
        coarse = Image.fromarray(random.integers(0, 256, (6, 9, 3), dtype=np.uint8))
        size = (80 + 9 * number, 60 + 7 * number)
        coarse.resize(size, Image.Resampling.BICUBIC).save(made / f"{number:02}.jpg", quality=90)
    return made


def arrays(folder: Path) -> list[NDArray[np.uint8]]:
    return [read_image(path) for path in images_in(folder)]


@pytest.mark.slow
def test_inception_has_torch_fidelitys_values(folder: Path, inception: Path) -> None:
    from torch_fidelity.datasets import ImagesPathDataset
    from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

    layers = ["2048", "logits_unbiased"]
    theirs = create_feature_extractor(
        "inception-v3-compat", layers, cuda=False, verbose=False, feature_extractor_weights_path=inception
    )
    files = images_in(folder)[:6]
    wanted = get_featuresdict_from_dataset(ImagesPathDataset(files), theirs, 1, False, True, False)
    network = load_network(f"inception-v3-tf1:{inception}", "cpu")
    found = network.of_files(files)
    scale = np.abs(wanted["2048"].numpy()).max()
    np.testing.assert_allclose(found, wanted["2048"].numpy(), atol=1e-4 * scale)
    logits = network.logits(found)  # type: ignore[attr-defined]
    np.testing.assert_allclose(logits, wanted["logits_unbiased"].numpy(), atol=1e-3)
    assert network.sha256 == hashlib.sha256(inception.read_bytes()).hexdigest()


@pytest.mark.slow
def test_inceptions_two_resizes_are_two_networks(folder: Path, inception: Path) -> None:
    some = arrays(folder)[:2]
    clean, first = (
        load_network(f"{name}:{inception}", "cpu") for name in ("inception-v3", "inception-v3-tf1")
    )
    assert clean.resize != first.resize and np.abs(clean(some) - first(some)).max() > 1e-3


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("unpickled"),)


def test_weights_with_code_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Code()}, tmp_path / "bad.pth")
    with pytest.raises(ModelError, match=r"bad\.pth can't be read as a file of weights only") as caught:
        load_network("inception-v3:bad.pth", "cpu")
    assert "\n" not in str(caught.value) and not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("inception", "'inception' is unknown; give one of efficientnet-lite0, inception-v3"),
        ("inception-v3", r"download https://github.com/toshas/.*6726825d.pth and give inception-v3:FILE"),
        ("inception-v3:none.pth", r"none\.pth can't be read"),
        ("sscd", "download https://dl.fbaipublicfiles.com/.* and give sscd:FILE@SHA256"),
        ("efficientnet-lite0:x.pth", "takes no weights"),
        ("clip-vit-b-32:/none", "there is no such folder"),
    ],
)
def test_a_missing_file_says_where_to_get_it(
    spec: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=says) as caught:
        load_network(spec, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(ModelError, match=r"resnet\.pth are not those of FID's InceptionV3"):
        load_network(f"inception-v3:{tmp_path}/resnet.pth", "cpu")


def test_clip_is_transformers_clip_on_clips_own_pixels(folder: Path, clip: Path) -> None:
    from torchvision import transforms
    from transformers import CLIPModel

    network = load_network(f"clip-vit-b-32:{clip}", "cpu")
    transform = transforms.Compose(
        [
            transforms.Resize(224, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
        ]
    )
    pixels = torch.stack([transform(Image.fromarray(image)) for image in arrays(folder)])
    whole = CLIPModel.from_pretrained(clip).eval()
    with torch.no_grad():
        wanted = whole.visual_projection(whole.vision_model(pixel_values=pixels).pooler_output)
    np.testing.assert_allclose(network(arrays(folder)), wanted.numpy(), atol=1e-5)


def test_a_clip_of_another_size_is_refused(clip: Path) -> None:
    with pytest.raises(ModelError, match="takes images of 224 pixels; clip-vit-l-14-336 takes 336"):
        load_network(f"clip-vit-l-14-336:{clip}", "cpu")


def test_dinov2_gives_the_class_token_after_the_last_norm(folder: Path, tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=56
    )
    theirs = Dinov2Model(config).eval()
    theirs.save_pretrained(tmp_path)
    network = load_network(f"dinov2-vit-l-14:{tmp_path}", "cpu")
    image = arrays(folder)[3]
    pixels = network.prepare(image)[None]
    small = np.asarray(Image.fromarray(image).resize((224, 224), Image.Resampling.BICUBIC), np.float32) / 255
    np.testing.assert_allclose(
        pixels[0].permute(1, 2, 0), (small - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], atol=1e-5
    )
    with torch.no_grad():
        wanted = theirs(pixels).last_hidden_state[:, 0]
    np.testing.assert_allclose(network([image]), wanted.numpy(), atol=1e-5)


class Descriptor(torch.nn.Module):
    """Unit vectors of 5 numbers, in the shape of SSCD's file."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)[:, :5]
        return torch.nn.functional.normalize(pooled)


def test_torchscript_is_loaded_only_with_its_digest(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "sscd.pt"
    torch.jit.script(Descriptor()).save(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(
        ModelError, match=f"a program that would run on this machine; .* sscd:{path}@{sha256}"
    ):
        load_network(f"sscd:{path}", "cpu")
    with pytest.raises(ModelError, match="it was not loaded"):
        load_network(f"sscd:{path}@{'0' * 64}", "cpu")
    network = load_network(f"sscd:{path}@{sha256}", "cpu")
    found = network(arrays(folder))
    assert network.sha256 == sha256 and found.shape == (20, 5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_features_keep_their_order_and_do_not_depend_on_other_images(
    folder: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network(f"clip-vit-b-32:{clip}", "cpu")
    images = arrays(folder)
    alone = np.concatenate([network([image]) for image in images])
    monkeypatch.setitem(BATCH, "cpu", 3)
    monkeypatch.setattr("commoncanvas.evaluation.networks.network._single_threads", lambda: nullcontext(4))
    np.testing.assert_allclose(network(iter(images)), alone, atol=1e-5)
    done: list[int] = []
    np.testing.assert_allclose(network.of_files(images_in(folder), done.append), alone, atol=1e-5)
    assert sum(done) == 20 and network([]).shape == (0, 8)


def test_a_broken_file_ends_the_run_and_is_named(folder: Path, clip: Path, tmp_path: Path) -> None:
    data = (folder / "19.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    network = load_network(f"clip-vit-b-32:{clip}", "cpu")
    before = torch.get_num_threads()
    with pytest.raises(ImageError, match=r"cut\.jpg"):
        network.of_files([*images_in(folder), tmp_path / "cut.jpg"])
    assert torch.get_num_threads() == before
    with pytest.raises(ImageError, match="has no image files"):
        images_in(clip)


@pytest.mark.parametrize(("mode", "format"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "JPEG"), ("P", "PNG")])
def test_pixels_are_pillows(folder: Path, tmp_path: Path, mode: str, format: str) -> None:
    with Image.open(folder / "07.jpg") as image:
        image.convert(mode).save(tmp_path / "a.jpg", format)
    theirs = np.asarray(Image.open(io.BytesIO((tmp_path / "a.jpg").read_bytes())).convert("RGB"))
    assert (read_image(tmp_path / "a.jpg") == theirs).all()
