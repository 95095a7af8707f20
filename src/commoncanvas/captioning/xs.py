"""The XS captioner. From frozen EfficientNet-Lite0 features, a small Transformer decoder proposes a caption; a judge
takes that, or a phrase of the training labels, whichever it expects more of the image.

Shapes: B images, S feature cells, F feature channels, T tokens, E the embeddings' width, W the decoder's width,
V words in the vocabulary.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from commoncanvas.captioning.captioner import Caption
from commoncanvas.captioning.judge import Judge
from commoncanvas.core.errors import ModelError
from commoncanvas.core.text import one_line
from commoncanvas.images.image import decode, square
from commoncanvas.models import efficientnet
from commoncanvas.models.devices import pick_device
from commoncanvas.models.image_features import image_features
from commoncanvas.models.sentences import embed
from commoncanvas.models.text_encoder import MINILM, text_encoder_path
from commoncanvas.models.threads import threads
from commoncanvas.models.weights import load_network, load_tokenizer
from commoncanvas.options.caption import CaptionerConfig
from commoncanvas.provenance.record import origin
from commoncanvas.table.columns import ColumnInfo

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MODEL_TYPE = "commoncanvas-xs-captioner"
PAD, START, END, UNKNOWN = "[PAD]", "[CLS]", "[SEP]", "[UNK]"
SPECIAL = (PAD, START, END, UNKNOWN)
BATCH = 32
JUDGE = "judge."


@dataclass(frozen=True)
class DecoderConfig:
    """Everything needed to rebuild a CaptionDecoder, except its weights."""

    vocabulary: tuple[str, ...]
    grid: int
    width: int
    layers: int
    heads: int
    dropout: float
    max_tokens: int
    embedding_width: int = 384


class CaptionDecoder(nn.Module):
    """A causal Transformer over word pieces that attends to the cells of an image's feature map.

    Word pieces and embeddings are MiniLM's, limited to pieces in the training labels. The output layer is tied to
    the embeddings, so words with similar meanings start with similar scores.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.word_VE = nn.Embedding(len(config.vocabulary), config.embedding_width)
        self.word_in = nn.Linear(config.embedding_width, width)
        self.word_out = nn.Linear(width, config.embedding_width)
        self.bias_V = nn.Parameter(torch.zeros(len(config.vocabulary)))
        self.place_TW = nn.Parameter(torch.randn(config.max_tokens, width) * 0.02)
        self.cell_SW = nn.Parameter(torch.randn(config.grid**2, width) * 0.02)
        self.image = nn.Sequential(nn.LayerNorm(efficientnet.FEATURES), nn.Dropout(config.dropout))
        self.image_in = nn.Linear(efficientnet.FEATURES, width)
        layer = nn.TransformerDecoderLayer(
            width,
            config.heads,
            4 * width,
            config.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.decoder = nn.TransformerDecoder(layer, config.layers, norm=nn.LayerNorm(width))

    def forward(self, features_BFHW: Tensor, tokens_BT: Tensor) -> Tensor:
        """Features [B, 1280, grid, grid] and previous tokens [B, T] -> scores of each next token [B, T, V]."""
        memory_BSF = features_BFHW.flatten(2).transpose(1, 2)
        memory_BSW = self.image_in(self.image(memory_BSF)) + self.cell_SW
        length = tokens_BT.shape[1]
        inputs_BTW = self.word_in(self.word_VE(tokens_BT)) + self.place_TW[:length]
        mask_TT = nn.Transformer.generate_square_subsequent_mask(length, device=tokens_BT.device)
        hidden_BTW = self.decoder(inputs_BTW, memory_BSW, tgt_mask=mask_TT, tgt_is_causal=True)
        scores: Tensor = self.word_out(hidden_BTW) @ self.word_VE.weight.T + self.bias_V
        return scores

    @torch.no_grad()
    def decode(self, features_BFHW: Tensor) -> Tensor:
        """Greedy decoding: features [B, 1280, grid, grid] -> tokens [B, max_tokens], END and padding at the end."""
        index = {word: place for place, word in enumerate(self.config.vocabulary)}
        forbidden = [index[word] for word in (PAD, START, UNKNOWN)]
        size = len(features_BFHW)
        tokens_BT = torch.full((size, 1), index[START], device=features_BFHW.device)
        ended_B = torch.zeros(size, dtype=torch.bool, device=features_BFHW.device)
        for _ in range(self.config.max_tokens - 1):
            scores_BV = self(features_BFHW, tokens_BT)[:, -1]
            scores_BV[:, forbidden] = -torch.inf
            following_B = torch.where(ended_B, index[PAD], scores_BV.argmax(1))
            ended_B |= following_B == index[END]
            tokens_BT = torch.cat([tokens_BT, following_B[:, None]], dim=1)
            if bool(ended_B.all()):
                break
        return tokens_BT[:, 1:]


class Words:
    """Converts captions to token numbers and back, with a decoder's vocabulary."""

    def __init__(self, vocabulary: Sequence[str], max_tokens: int) -> None:
        self.vocabulary = tuple(vocabulary)
        self.max_tokens = max_tokens
        self._index = {word: place for place, word in enumerate(vocabulary)}
        self._tokenizer = _tokenizer()

    @classmethod
    def of(cls, texts: Sequence[str], max_tokens: int) -> Self:
        """The vocabulary of `texts`: the special pieces, then all pieces in alphabetical order."""
        tokenizer = _tokenizer()
        pieces = {piece for text in texts for piece in tokenizer.tokenize(text)}
        return cls((*SPECIAL, *sorted(pieces - set(SPECIAL))), max_tokens)

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Texts -> int64 [B, max_tokens]: START, pieces, END, padding. Long texts are cut."""
        unknown = self._index[UNKNOWN]
        rows = []
        for text in texts:
            pieces = [self._index.get(piece, unknown) for piece in self._tokenizer.tokenize(text)]
            row = [self._index[START], *pieces[: self.max_tokens - 2], self._index[END]]
            rows.append(row + [self._index[PAD]] * (self.max_tokens - len(row)))
        return torch.tensor(rows)

    def texts(self, tokens_BT: Tensor) -> list[str]:
        """Token numbers [B, T] -> texts, up to END."""
        texts = []
        for row in tokens_BT.tolist():
            pieces = [self.vocabulary[number] for number in row]
            pieces = pieces[: pieces.index(END)] if END in pieces else pieces
            text = self._tokenizer.convert_tokens_to_string(
                [piece for piece in pieces if piece not in SPECIAL]
            )
            texts.append(text.replace(" - ", "-").replace(" ’ ", "’"))
        return texts

    def embeddings(self) -> Tensor:
        """MiniLM's embeddings [V, 384] of the pieces."""
        from transformers import BertModel

        numbers = self._tokenizer.convert_tokens_to_ids(list(self.vocabulary))
        network = load_network(BertModel, text_encoder_path(MINILM), MINILM)
        table: Tensor = network.embeddings.word_embeddings.weight
        return table.detach()[numbers].clone()


class XSCaptioner:
    """A trained CaptionDecoder and the image network it reads; see captioner.Captioner."""

    def __init__(self, config: CaptionerConfig) -> None:
        folder = Path(config.model)
        ignored = config.prompt, config.max_tokens, config.beams, config.revision
        if config.temperature or any(one is not None for one in ignored):
            raise ModelError(
                "the xs captioner has no prompt, max-tokens, beams, revision or temperature; leave them out"
            )
        if not 0 <= config.unsure < 1:
            raise ModelError(f"unsure {config.unsure:g}: give a share of the images, from 0 to less than 1")
        weights = folder / "model.safetensors"
        try:
            fields = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            fields.pop("model_type")
            fields["vocabulary"] = tuple(fields["vocabulary"])
            self.phrases: list[str] = fields.pop("phrases")
            tensors = load_file(weights)
            judge = {name: tensors.pop(JUDGE + name).float() for name in Judge.__dataclass_fields__}
            self.judge = Judge(**judge)
            self.decoder = CaptionDecoder(DecoderConfig(**fields))
            self.decoder.load_state_dict(tensors)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"captioner {folder} can't be loaded: {one_line(error)}") from error
        self.decoder.eval()
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        settings = {"unsure": config.unsure} if config.unsure else {}
        self.info = ColumnInfo(digest, (("image", None),), (), folder.name, origin(folder), settings=settings)
        self.least_sure = self.judge.level(config.unsure)
        self.batch_size = BATCH
        self.words = Words(self.decoder.config.vocabulary, self.decoder.config.max_tokens)
        self.device = pick_device(config.device)
        self.decoder.to(self.device)
        self.judge = self.judge.to(self.device)
        self.network = efficientnet.load().to(self.device)

    def prepare(self, image: bytes) -> NDArray[np.uint8]:
        return square(decode(image), efficientnet.INPUT_SIZE)

    def caption(self, prepared: Sequence[NDArray[np.uint8]], ids: Sequence[str]) -> list[Caption]:
        captions: list[Caption] = []
        for start in range(0, len(prepared), BATCH):
            threads().follow()
            batch = prepared[start : start + BATCH]
            features = image_features(self.network, batch, self.decoder.config.grid, BATCH)
            # Round to fp16, like the column that training reads.
            captions += self._chosen(features.half().float())
        return captions

    @torch.no_grad()
    def _chosen(self, features: Tensor) -> list[Caption]:
        """For each image of features [B, F, H, W]: the decoder's caption or the phrase that the judge expects most."""
        own = self.words.texts(self.decoder.decode(features))
        expected_BE = self.judge.expected(features)
        sure_B, phrase_B = (expected_BE @ self.judge.phrases_PE.T).max(1)
        own_BE = torch.from_numpy(embed(own)).to(expected_BE.device)
        own_B = (expected_BE * own_BE).sum(1)
        captions = []
        for text, proposed, known, phrase in zip(
            own, own_B.tolist(), sure_B.tolist(), phrase_B.tolist(), strict=True
        ):
            best = text if text and proposed > known else self.phrases[phrase]
            sure = max(proposed, known) >= self.least_sure
            captions.append(Caption(best) if sure else Caption(None, "unsure"))
        return captions


def save_captioner(decoder: CaptionDecoder, judge: Judge, phrases: Sequence[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"model_type": MODEL_TYPE, **asdict(decoder.config), "phrases": list(phrases)}
    (folder / "config.json").write_text(json.dumps(fields, indent=1, ensure_ascii=False), encoding="utf-8")
    tensors = decoder.state_dict() | {JUDGE + name: tensor for name, tensor in judge.tensors().items()}
    tensors["judge.anchors_MD"] = judge.anchors_MD.half()
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")


def _tokenizer() -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return load_tokenizer(AutoTokenizer, text_encoder_path(MINILM), MINILM)
