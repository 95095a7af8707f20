"""Incomplete checkpoints, and those that want to run code: small models of the real classes, damaged on disk."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertModel,
    Blip2Config,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    InstructBlipConfig,
    InstructBlipForConditionalGeneration,
    InstructBlipQFormerConfig,
    T5Config,
    T5EncoderModel,
    T5ForConditionalGeneration,
)

from commoncanvas.captioning import CaptionerConfig, load_captioner
from commoncanvas.core.errors import ModelError
from commoncanvas.diffusion.sampling import load_pipeline
from commoncanvas.models.text_encoder import TextEncoder
from commoncanvas.models.vae import load_vae, weights_sha256
from commoncanvas.models.weights import load_network
from tests.captioning import models as captioners
from tests.encoding import models

NETWORK, DIFFUSERS = "model.safetensors", "diffusion_pytorch_model.safetensors"


def encoder(folder: str) -> TextEncoder:
    return TextEncoder(folder, 8)


def unet(folder: str) -> Any:
    return load_network(UNet2DConditionModel, folder, "init", subfolder="unet")


def captioner(kind: str) -> Callable[[str], Any]:
    return lambda folder: load_captioner(CaptionerConfig(folder, kind, precision="fp32", device="cpu"))


LOADERS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "T5": ("t5", NETWORK, encoder),
    "Gemma": ("gemma", NETWORK, encoder),
    "Electra": ("electra", NETWORK, encoder),
    "SD2's CLIP": ("sd2", f"text_encoder/{NETWORK}", encoder),
    "SDXL's second": ("sdxl", f"text_encoder_2/{NETWORK}", encoder),
    "SD2's VAE": ("sd2", f"vae/{DIFFUSERS}", load_vae),
    "DC-AE": ("dc", DIFFUSERS, load_vae),
    "SD2's U-Net": ("sd2", f"unet/{DIFFUSERS}", unet),
    "a pipeline's VAE": ("sd2", f"vae/{DIFFUSERS}", load_pipeline),
    "a pipeline's U-Net": ("sdxl", f"unet/{DIFFUSERS}", load_pipeline),
    "a pipeline's encoder": ("sdxl", f"text_encoder_2/{NETWORK}", load_pipeline),
    "BLIP-2 with OPT": ("blip2", NETWORK, captioner("blip2")),
    "BLIP-2 with T5": ("blip2_t5", NETWORK, captioner("blip2")),
    "LLaVA": ("llava", NETWORK, captioner("vlm")),
    "Qwen2-VL": ("qwen", NETWORK, captioner("vlm")),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for name in ("sd2", "sdxl", "t5", "gemma", "electra"):
        getattr(models, name)(root / name)
    models.deep_vae().save_pretrained(root / "dc")
    for name in ("blip2", "llava", "qwen"):
        getattr(captioners, name)(root / name)
    captioners.blip2(root / "blip2_t5", t5=True)
    return {folder.name: folder for folder in root.iterdir()}


@pytest.fixture
def changed(folders: dict[str, Path], tmp_path: Path) -> Callable[..., str]:
    """A copy of a model with the weights of one file changed."""

    def make(name: str, file: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> str:
        folder = tmp_path / name
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(folders[name], folder)
        weights = load_file(folder / file)
        change(weights)
        save_file(weights, folder / file, {"format": "pt"})
        return str(folder)

    return make


@pytest.mark.parametrize("which", LOADERS)
def test_a_checkpoint_that_lacks_a_tensor_is_refused_by_its_name(
    which: str, folders: dict[str, Path], changed: Callable[..., str]
) -> None:
    name, file, load = LOADERS[which]
    load(str(folders[name]))  # whole, it loads
    names = sorted(load_file(folders[name] / file))
    for lost in random.Random(0).sample(names, 3):
        folder = changed(name, file, lambda weights, lost=lost: weights.pop(lost))
        with pytest.raises(
            ModelError, match=r"lacks \d of its weights \(.*\): it is not a complete .*; download it again"
        ) as caught:
            load(folder)
        message = str(caught.value)
        assert lost.split(".", 1)[1] in message and folder in message and "\n" not in message


@pytest.mark.parametrize("which", ["SD2's CLIP", "SD2's VAE", "SD2's U-Net", "a pipeline's encoder", "LLaVA"])
def test_a_tensor_of_another_shape_or_a_file_cut_off_is_one_line(
    which: str, folders: dict[str, Path], changed: Callable[..., str]
) -> None:
    name, file, load = LOADERS[which]

    def shorter(weights: dict[str, torch.Tensor]) -> None:
        first = max(weights, key=lambda one: weights[one].ndim)
        weights[first] = weights[first][:-1].contiguous()

    folder = changed(name, file, shorter)
    with pytest.raises(ModelError) as caught:
        load(folder)
    assert folder in str(caught.value) and "\n" not in str(caught.value)
    path = Path(changed(name, file, lambda weights: None), file)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="can't be loaded"):
        load(str(path).removesuffix(f"/{file}"))


@pytest.mark.parametrize("which", ["T5", "SD2's VAE", "SD2's U-Net", "Qwen2-VL"])
def test_weights_that_have_no_place_in_a_part_of_the_network_are_named(
    which: str, changed: Callable[..., str]
) -> None:
    name, file, load = LOADERS[which]

    def more(weights: dict[str, torch.Tensor]) -> None:
        weights[f"{min(weights).rpartition('.')[0]}.other.weight"] = torch.zeros(2)
        weights["a_head_that_nobody_reads.weight"] = torch.zeros(2)

    with pytest.raises(ModelError, match=r"has no place for 1 of its weights \(.*other\.weight\)"):
        load(changed(name, file, more))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stored", ["shared.weight", "encoder.embed_tokens.weight", None])
def test_embeddings_that_the_file_has_once_are_both_its_own(
    tied: bool, stored: str | None, folders: dict[str, Path], changed: Callable[..., str]
) -> None:
    """T5's, whose first version is tied and whose 1.1 isn't; the file has `shared`, the other, or both."""

    def store(weights: dict[str, torch.Tensor]) -> None:
        table = weights.pop("shared.weight")
        for name in [stored] if stored else ["shared.weight", "encoder.embed_tokens.weight"]:
            weights[name] = table.clone()

    folder = changed("t5", NETWORK, store)
    config = json.loads(Path(folder, "config.json").read_text()) | {"tie_word_embeddings": tied}
    Path(folder, "config.json").write_text(json.dumps(config))
    texts = ["a red dog on the grass"]
    assert torch.equal(encoder(folder)(texts), encoder(str(folders["t5"]))(texts))


def test_a_whole_models_encoder_is_taken_without_its_other_half(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    t5 = T5ForConditionalGeneration(T5Config.from_pretrained(folders["t5"], tie_word_embeddings=False)).eval()
    t5.save_pretrained(tmp_path / "t5")
    models.words().save_pretrained(tmp_path / "t5")
    alone = T5EncoderModel.from_pretrained(tmp_path / "t5").eval()
    tokens = torch.arange(3, 8)[None]
    torch.testing.assert_close(encoder(str(tmp_path / "t5")).encoder(tokens)[0], alone(tokens)[0])
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = CLIPConfig(
        text_config=models.clip_config(32, 2).to_dict(), vision_config=vision.to_dict(), projection_dim=24
    )
    CLIPModel(config).save_pretrained(tmp_path / "clip")
    models.words().save_pretrained(tmp_path / "clip")
    assert encoder(str(tmp_path / "clip"))(["a dog"]).shape == (1, 8, 32)


def test_a_pooler_that_nobody_reads_may_be_missing_and_no_digest_hangs_on_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(models.words()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        pad_token_id=0,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    models.words().save_pretrained(tmp_path)
    first, again = encoder(str(tmp_path)), encoder(str(tmp_path))
    assert weights_sha256(first.modules) == weights_sha256(again.modules)


def test_instructblip_is_not_taken_for_blip2(folders: dict[str, Path], tmp_path: Path) -> None:
    blip2 = Blip2Config.from_pretrained(folders["blip2"])
    former = InstructBlipQFormerConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        encoder_hidden_size=32,
    )
    config = InstructBlipConfig(
        vision_config=blip2.vision_config.to_dict(),
        qformer_config=former.to_dict(),
        text_config=blip2.text_config.to_dict(),
        num_query_tokens=4,
        image_token_index=blip2.image_token_index,
    )
    shutil.copytree(folders["blip2"], tmp_path / "instruct")
    InstructBlipForConditionalGeneration(config).save_pretrained(tmp_path / "instruct")
    with pytest.raises(ModelError, match=r"lacks 2 .* no place for 16 .* says instructblip\)"):
        captioner("blip2")(str(tmp_path / "instruct"))


@pytest.mark.parametrize("which", ["T5", "SD2's CLIP", "SD2's VAE", "SDXL's second", "SD2's U-Net", "LLaVA"])
def test_a_folder_with_weights_in_half_precision_alone_is_read(
    which: str, folders: dict[str, Path], changed: Callable[..., str]
) -> None:
    name, file, load = LOADERS[which]

    def halve(weights: dict[str, torch.Tensor]) -> None:
        for one in weights:
            weights[one] = weights[one].half()

    path = Path(changed(name, file, halve), file)
    path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    found = load(str(path).removesuffix(f"/{file}"))
    networks = getattr(found, "encoders", [getattr(found, "network", found)])
    whole = load(str(folders[name]))
    for network, other in zip(
        networks, getattr(whole, "encoders", [getattr(whole, "network", whole)]), strict=True
    ):
        for one, two in zip(network.parameters(), other.parameters(), strict=True):
            assert one.dtype == torch.float32
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-3)


@pytest.fixture
def a_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who says y to whatever is asked."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 20))


CODE = """
from pathlib import Path
Path({marker!r}).touch()
from transformers import {base}
class Theirs({base}):
    pass
"""


@pytest.mark.usefixtures("a_yes")
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("file", "field", "base"),
    [
        ("config.json", "AutoModel", "T5EncoderModel"),
        ("config.json", "AutoConfig", "T5Config"),
        ("tokenizer_config.json", "AutoTokenizer", "PreTrainedTokenizerFast"),
    ],
)
def test_code_of_a_text_encoders_own_is_neither_run_nor_asked_about(
    file: str, field: str, base: str, known: bool, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, marker = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(folders["t5"], folder)
    (folder / "theirs.py").write_text(CODE.format(marker=str(marker), base=base))
    fields = json.loads((folder / file).read_text())
    reference: Any = "theirs.Theirs" if field != "AutoTokenizer" else [None, "theirs.Theirs"]
    fields["auto_map"] = {field: reference}
    if not known:
        fields["model_type" if file == "config.json" else "tokenizer_class"] = "theirs"
    (folder / file).write_text(json.dumps(fields))
    try:
        encoder(str(folder))
    except ModelError as error:
        assert "needs its own code (auto_map)" in str(error) and str(folder) in str(error)
        assert not known or field == "AutoTokenizer"
    assert not marker.exists()


@pytest.mark.usefixtures("a_yes")
@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("config.json", "AutoModelForImageTextToText"),
        ("config.json", "AutoConfig"),
        ("processor_config.json", "AutoProcessor"),
        ("tokenizer_config.json", "AutoTokenizer"),
    ],
)
def test_code_of_a_captioners_own_is_neither_run_nor_asked_about(
    file: str, field: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, marker = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(folders["llava"], folder)
    (folder / "theirs.py").write_text(CODE.format(marker=str(marker), base="PreTrainedModel"))
    fields = json.loads((folder / file).read_text())
    fields["auto_map"] = {field: "theirs.Theirs" if field != "AutoTokenizer" else [None, "theirs.Theirs"]}
    fields.pop("model_type", None)
    fields.pop("processor_class", None)
    fields["tokenizer_class"] = "Theirs"
    (folder / file).write_text(json.dumps(fields))
    try:
        captioner("vlm")(str(folder))
    except ModelError as error:
        assert "can't be loaded as vlm: it needs its own code (auto_map)" in str(error)
    else:  # by transformers' own classes
        assert file != "config.json"
    assert not marker.exists()


@pytest.mark.usefixtures("a_yes")
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("_class_name", ["theirs", "Theirs"]),
        ("_class_name", "Theirs"),
        ("unet", ["theirs", "Theirs"]),
        ("vae", ["os", "system"]),
        ("tokenizer", ["transformers", "Trainer"]),
    ],
)
def test_a_pipeline_of_other_classes_than_the_libraries_own_is_refused(
    name: str, part: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder, marker = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(folders["sd2"], folder)
    for place in (folder, folder / "unet"):
        (place / "theirs.py").write_text(CODE.format(marker=str(marker), base="PreTrainedModel"))
    index = json.loads((folder / "model_index.json").read_text()) | {name: part}
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"a model's own code is never run|is not a tokenizer or processor"):
        load_pipeline(str(folder))
    assert not marker.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"use_kernels": True},
        {"attn_implementation": "kernels-community/flash-attn3"},
        {"attn_implementation": "flash_attention_2"},
        {"_attn_implementation_internal": "someone/kernel@main:attention"},
        {"text_config": {"attn_implementation": "someone/kernel"}},
        {"attn_implementation": {"": "sdpa", "vision_config": "someone/kernel"}},
        {"experts_implementation": "someone/kernel"},
    ],
)
def test_kernels_from_the_hub_are_refused(
    fields: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    for name, load in (("t5", encoder), ("llava", captioner("vlm"))):
        folder = tmp_path / name
        shutil.copytree(folders[name], folder)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))
        with pytest.raises(ModelError, match=r"needs code from the hub, which is never run"):
            load(str(folder))


@pytest.mark.parametrize("name", ["Trainer", "pipeline", "AutoModel"])
def test_a_tokenizer_of_an_odd_class_is_refused(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["t5"], folder)
    fields = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(fields | {"tokenizer_class": name}))
    with pytest.raises(
        ModelError, match=rf"class {name}, .* is not a tokenizer or processor of transformers"
    ):
        encoder(str(folder))


def test_an_attention_that_needs_nothing_is_taken(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folders["t5"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attn_implementation": "eager"}))
    encoder(str(folder))


def test_pipelines_whose_encoders_are_not_known_are_refused(tmp_path: Path) -> None:
    """SD3's three, and SDXL's refiner, which has the second of the pair alone."""
    sd3 = {
        "text_encoder": "CLIPTextModelWithProjection",
        "text_encoder_2": "CLIPTextModelWithProjection",
        "text_encoder_3": "T5EncoderModel",
    }
    refiner = {"text_encoder": None, "text_encoder_2": "CLIPTextModelWithProjection"}
    without_t5 = {name: kind for name, kind in sd3.items() if kind != "T5EncoderModel"}
    flux = {"text_encoder": "CLIPTextModel", "text_encoder_2": "T5EncoderModel"}
    for number, parts in enumerate((sd3, refiner, without_t5, flux)):
        folder = tmp_path / str(number)
        folder.mkdir()
        index = {name: ["transformers", kind] if kind else [None, None] for name, kind in parts.items()}
        (folder / "model_index.json").write_text(json.dumps({"_class_name": "X", **index}))
        with pytest.raises(ModelError, match=r"neither a single encoder nor SDXL's pair") as caught:
            encoder(str(folder))
        assert all(kind in str(caught.value) for kind in parts.values() if kind)


def test_a_vae_of_diffusers_older_names_still_loads(
    folders: dict[str, Path], changed: Callable[..., str]
) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(weights: dict[str, torch.Tensor]) -> None:
        for name in [one for one in weights if ".attentions.0." in one]:
            for new, before in old.items():
                if f".{new}." in name:
                    weights[name.replace(f".{new}.", f".{before}.")] = weights.pop(name)

    found, whole = load_vae(changed("sd2", f"vae/{DIFFUSERS}", rename)), load_vae(str(folders["sd2"]))
    assert isinstance(found, AutoencoderKL)
    assert weights_sha256(found) == weights_sha256(whole)
