"""A text encoder of a few layers and word pieces is read as any other, and gives the original's states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, BertModel

from commoncanvas.models.attribution import attribution
from commoncanvas.models.card import card_license
from commoncanvas.models.small_encoder import write_small_encoder
from commoncanvas.models.text_encoder import MINILM, TextEncoder, text_encoder_path

TEXTS = ["a red heart", "hedgehog", "couple with heart: man, woman"]


def test_states_are_those_of_the_originals_first_layer_and_other_words_fall_to_pieces(tmp_path: Path) -> None:
    write_small_encoder(tmp_path, TEXTS, pieces=150, layers=1, length=16)
    small = TextEncoder(str(tmp_path), 12)
    tokenizer = AutoTokenizer.from_pretrained(text_encoder_path(MINILM))
    whole = BertModel.from_pretrained(text_encoder_path(MINILM))
    tokens = tokenizer(TEXTS, padding="max_length", max_length=12, return_tensors="pt")
    with torch.no_grad():
        wanted = whole(**tokens, output_hidden_states=True).hidden_states[1]
    real = tokens.attention_mask.bool()
    torch.testing.assert_close(small(TEXTS)[real], wanted[real], rtol=0, atol=0.01)  # stored as fp16
    assert len(small.tokenizer) == 150
    assert small.tokenizer.tokenize("hedgehog") == tokenizer.tokenize("hedgehog")
    pieces = small.tokenizer.tokenize("Zygote 7")
    assert len(pieces) > 2 and "[UNK]" not in pieces
    assert card_license(str(tmp_path)) == "apache-2.0"
    assert "sentence-transformers project" in attribution(str(tmp_path)).authors


def test_texts_that_need_more_pieces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 60"):
        write_small_encoder(tmp_path, TEXTS, pieces=60)
