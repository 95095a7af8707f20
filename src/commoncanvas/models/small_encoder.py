"""A small text encoder out of all-MiniLM-L6-v2: its first layers, and only the word pieces that a model needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml

from commoncanvas.models.attribution import CITATION
from commoncanvas.models.packaged import PACKAGED
from commoncanvas.models.text_encoder import MINILM, text_encoder_path
from commoncanvas.models.weights import load_network, load_tokenizer

CARD = """---
license: apache-2.0
base_model: sentence-transformers/all-MiniLM-L6-v2
---

The first {layers} of the layers of [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2)
(sentence-transformers, Apache-2.0), with {pieces} of its word pieces and {length} positions, in half precision. Nothing
was trained: the weights are the original's. A word whose piece was left out is read in smaller pieces.
"""
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def write_small_encoder(
    folder: str | Path, texts: Iterable[str], *, pieces: int, layers: int = 1, length: int = 32
) -> None:
    """Write the encoder and its tokenizer into `folder`, for a recipe's `text_encoder`.

    The vocabulary has all word pieces of `texts`, letters and digits, and then the first of the original vocabulary,
    which is sorted by frequency, up to `pieces`. `length`: the most tokens of a text. Raises MissingExtraError;
    ValueError if `texts` alone need more pieces.
    """
    import transformers
    from transformers import BertModel

    path = text_encoder_path(MINILM)
    tokenizer: Any = load_tokenizer(transformers.AutoTokenizer, path, MINILM)
    encoder: Any = load_network(BertModel, path, MINILM)
    kept = _kept_pieces(tokenizer, texts, pieces)

    vocabulary = {tokenizer.convert_ids_to_tokens(old): new for new, old in enumerate(kept)}
    small: Any = transformers.BertTokenizer(vocab=vocabulary, do_lower_case=True, model_max_length=length)
    words, places = encoder.embeddings.word_embeddings, encoder.embeddings.position_embeddings
    words.weight.data = words.weight.data[torch.tensor(kept)]
    places.weight.data = places.weight.data[:length]
    words.num_embeddings, places.num_embeddings = len(kept), length
    words.padding_idx = vocabulary[tokenizer.pad_token]
    encoder.encoder.layer = encoder.encoder.layer[:layers]
    config = encoder.config
    config.vocab_size, config.max_position_embeddings, config.num_hidden_layers = len(kept), length, layers
    config.pad_token_id = words.padding_idx
    encoder.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    small.save_pretrained(folder)
    card = CARD.format(layers=layers, pieces=len(kept), length=length)
    (Path(folder) / "README.md").write_text(card, encoding="utf-8")
    citation = {
        "cff-version": "1.2.0",
        "message": "These weights are a part of all-MiniLM-L6-v2; please credit its authors.",
        "title": "all-MiniLM-L6-v2, its first layers",
        "authors": [{"name": PACKAGED[MINILM].authors}],
        "url": PACKAGED[MINILM].page,
    }
    (Path(folder) / CITATION).write_text(yaml.safe_dump(citation, sort_keys=False), encoding="utf-8")


def _kept_pieces(tokenizer: Any, texts: Iterable[str], pieces: int) -> list[int]:
    """Ids of the pieces that stay, in the order of the original vocabulary."""
    vocabulary = tokenizer.get_vocab()
    needed = set(tokenizer.all_special_ids)
    needed.update(
        vocabulary[name] for letter in ALPHABET for name in (letter, f"##{letter}") if name in vocabulary
    )
    used = Counter(piece for text in texts for piece in tokenizer(text).input_ids)
    needed.update(used)
    if len(needed) > pieces:
        raise ValueError(f"the texts need {len(needed)} word pieces, more than {pieces}")
    common = (
        number
        for name, number in sorted(vocabulary.items(), key=lambda item: item[1])
        if number not in needed and name.removeprefix("##").isascii() and name.removeprefix("##").isalpha()
    )
    for number in common:
        if len(needed) == pieces:
            break
        needed.add(number)
    return sorted(needed)
