from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from commoncanvas.core.errors import ModelError
from commoncanvas.models.text_encoder import TextEncoder

WORDS = ["<pad>", "<start>", "<end>", "<unk>", "a", "red", "blue", "square"]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A small CLIP text model with random weights, laid out as in a diffusers pipeline's folder."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    CLIPTextModel(config).save_pretrained(tmp_path / "text_encoder")
    tokenizer = Tokenizer(
        models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unk>",
    )
    fast.save_pretrained(tmp_path / "tokenizer")
    return tmp_path


def test_a_clip_text_encoder_gives_the_states_of_its_own_class_without_a_mask(clip: Path) -> None:
    states = TextEncoder(str(clip), 77)(["a red square", ""])
    assert states.shape == (2, 77, 16)
    numbers = torch.zeros(2, 77, dtype=torch.long)
    numbers[0, :5] = torch.tensor([1, 4, 5, 7, 2])
    numbers[1, :2] = torch.tensor([1, 2])
    with torch.no_grad():
        wanted = CLIPTextModel.from_pretrained(clip / "text_encoder").eval()(numbers)[0]
    assert torch.equal(states, wanted)


def test_the_exported_tokenizer_carries_the_length(clip: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    encoder = TextEncoder(str(clip), 9)
    encoder.tokenizer.save_pretrained(tmp_path / "exported")
    assert AutoTokenizer.from_pretrained(str(tmp_path / "exported")).model_max_length == 9


def test_a_text_that_is_too_long_is_cut(clip: Path) -> None:
    encoder = TextEncoder(str(clip), 4)
    assert encoder(["a red square a red square"]).shape == (1, 4, 16)


def test_minilm_hides_padding_from_itself() -> None:
    encoder = TextEncoder("minilm", 16)
    assert encoder.encoder.config.use_attention_mask
    short, long = (TextEncoder("minilm", length)(["a red apple"])[0] for length in (8, 16))
    assert torch.allclose(short[:5], long[:5], atol=1e-5)


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing"):
        TextEncoder(str(tmp_path / "nothing"), 8)
