"""Pretrained networks, tokenizers and processors: loaded whole, or refused in one line. A model's own code never runs.

Every `from_pretrained` of the package is here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import torch
import transformers
from diffusers import ModelMixin
from torch import nn
from transformers import dynamic_module_utils
from transformers.utils import DummyObject

from commoncanvas.core.errors import CommonCanvasError, ModelError
from commoncanvas.core.text import one_line
from commoncanvas.models.hub import find, locate, unreachable
from commoncanvas.models.loading import read_json

LIBRARIES = {"diffusers": diffusers, "transformers": transformers}
"""Whose classes the parts of a pipeline may be."""
VARIANTS = ("fp16", "bf16")
"""Names of weights in half precision, read where a model has no others."""
POOLER = "pooler."
"""Weights on top of a text encoder that no pipeline reads; many checkpoints have none."""
ATTENTION = (None, "eager", "sdpa")
"""What a configuration may ask for; other implementations are fetched from the hub, and run."""
DESCRIPTIONS = ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
CLASS_FIELDS = ("tokenizer_class", "processor_class", "image_processor_type", "feature_extractor_type")
"""Fields of DESCRIPTIONS by which transformers takes any class of its own."""
SHOWN = 3


def load_network(
    kind: Any,
    model: str,
    what: str,
    *,
    subfolder: str = "",
    revision: str | None = None,
    as_kind: str = "",
    dtype: torch.dtype = torch.float32,
) -> Any:
    """The network in a folder or of a hub id, as its class `kind` of transformers or diffusers, for evaluation.

    Raises ModelError, which begins with `what` and `model`, and names `as_kind`, unless each of its weights is in its
    files, and each weight in them has its place.
    """
    locate(model, what)
    config = read_json(model, "config.json", subfolder, revision, what)
    refuse_code(config, f"{what} {model}")
    network, report = _loaded(
        kind,
        model,
        what,
        subfolder,
        revision,
        as_kind,
        torch_dtype=dtype,
        use_safetensors=True,
        variant=_variant(kind, model, subfolder, revision),
        output_loading_info=True,
    )
    missing = set(report["missing_keys"])
    unread = {name for name in missing if name.startswith(POOLER)}
    for name in unread:
        nn.init.zeros_(network.get_parameter(name))  # not random: digests count them
    says = config.get("model_type") or config.get("_class_name")
    _complain(f"{what} {model}", says, network, missing - unread, report["unexpected_keys"])
    network.eval()
    return network


def load_tokenizer(
    kind: Any,
    model: str,
    what: str,
    *,
    subfolder: str = "",
    revision: str | None = None,
    as_kind: str = "",
) -> Any:
    """The tokenizer or processor in a folder or of a hub id, as its class `kind`. Raises ModelError."""
    locate(model, what)
    names = [(kind.__name__, "the pipeline")]
    for file in DESCRIPTIONS:
        fields = read_json(model, file, subfolder, revision, what)
        names += [(fields[field], file) for field in CLASS_FIELDS if isinstance(fields.get(field), str)]
    for name, where in names:
        _check_class(name, f"{what} {model}: class {name}, which {where} asks for,")
    return _loaded(kind, model, what, subfolder, revision, as_kind)


def _check_class(name: str, what: str) -> None:
    """Raise ModelError for the name of a class of transformers that is none of a tokenizer or processor."""
    kind = getattr(transformers, name, None)
    known = (
        transformers.PreTrainedTokenizerBase,
        transformers.ProcessorMixin,
        transformers.FeatureExtractionMixin,
        transformers.ImageProcessingMixin,
        transformers.AutoTokenizer,
        transformers.AutoProcessor,
    )
    # A class whose packages are missing says so when it is loaded.
    if kind is None or isinstance(kind, DummyObject) or (isinstance(kind, type) and issubclass(kind, known)):
        return
    raise ModelError(f"{what} is no tokenizer or processor of transformers; choose another model")


def load_pipeline(model: str) -> Any:
    """The diffusers pipeline in a model folder or of a hub id, without a safety checker. Raises ModelError."""
    what = "model"
    index = read_json(model, "model_index.json", what=what)
    kind = index.get("_class_name")
    if not isinstance(kind, str) or not hasattr(diffusers, kind):
        raise ModelError(
            f"{what} {model} is of class {kind}, which diffusers doesn't have; code of its own is never run"
        )
    networks: dict[str, Any] = {"safety_checker": None}
    for name, part in index.items():
        if not isinstance(part, list) or None in part or name in networks:
            continue
        library, class_name = part
        found = getattr(LIBRARIES.get(library), class_name, None)
        if found is None:
            raise ModelError(
                f"{what} {model}: its {name} is {library}'s {class_name}, and neither diffusers nor transformers has "
                "it; code of its own is never run"
            )
        if issubclass(found, nn.Module):
            networks[name] = load_network(found, model, f"{name} of", subfolder=name)
        elif library == "transformers":
            networks[name] = load_tokenizer(found, model, f"{name} of", subfolder=name)
    return _loaded(diffusers.DiffusionPipeline, model, what, "", None, "", use_safetensors=True, **networks)


@contextmanager
def no_questions() -> Iterator[None]:
    """For other libraries that load by transformers: it refuses a model's own code, where it would ask a person."""
    before, dynamic_module_utils.TIME_OUT_REMOTE_CODE = dynamic_module_utils.TIME_OUT_REMOTE_CODE, 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


def refuse_code(config: dict[str, Any], what: str) -> None:
    """Raise ModelError for a configuration that has kernels fetched from the hub, which would be run."""
    for name, value in _fields(config):
        wants = value if name in ("use_kernels", "kernel_config") else None
        if name.removeprefix("_").startswith(("attn_implementation", "experts_implementation")):
            values = value.values() if isinstance(value, dict) else [value]
            wants = next((one for one in values if one not in ATTENTION), None)
        if wants:
            raise ModelError(
                f"{what}: {name} {wants!r} in its config.json asks for code from the hub, which is never run; take the "
                "field out"
            )


def _loaded(
    kind: Any, model: str, what: str, subfolder: str, revision: str | None, as_kind: str, **options: Any
) -> Any:
    try:
        return kind.from_pretrained(
            model,
            **({"subfolder": subfolder} if subfolder else {}),
            revision=revision or "main",
            local_files_only=unreachable() is not None,
            trust_remote_code=False,
            **options,
        )
    except CommonCanvasError:
        raise
    except Exception as error:  # what broken files make these libraries raise has no one base
        files = ("config.json", *DESCRIPTIONS)
        if any("auto_map" in read_json(model, name, subfolder, revision) for name in files):
            reason = "it needs code of its own (auto_map), which is never run; choose a model that transformers knows"
        else:
            reason = one_line(error) or type(error).__name__
        kind_said = f" as {as_kind}" if as_kind else ""
        raise ModelError(f"{what} {model} can't be loaded{kind_said}: {reason}") from error


def _complain(
    what: str, says: str | None, network: Any, missing: Iterable[str], unexpected: Iterable[str]
) -> None:
    """Raise ModelError for weights that are missing, or that have no place in a part which the network has."""
    parts = dict(network.named_children())
    other = [name for name in unexpected if "." in name and name.partition(".")[0] in parts]
    faults = [
        f"{text} {len(names)} of its weights ({_some(names)})"
        for text, names in (("lacks", sorted(missing)), ("has no place for", sorted(other)))
        if names
    ]
    if faults:
        raise ModelError(
            f"{what} {' and '.join(faults)}: as {type(network).__name__} it is incomplete, or of another kind (its "
            f"config.json says {says}); get it anew, or choose another"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _variant(kind: Any, model: str, subfolder: str, revision: str | None) -> str | None:
    """None, or the one of VARIANTS that the model has its only weights in."""
    stem = "diffusion_pytorch_model" if issubclass(kind, ModelMixin) else "model"
    for variant in (None, *VARIANTS):
        infix = f".{variant}" if variant else ""
        names = (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")
        if any(find(model, name, subfolder, revision) for name in names):
            return variant
    return None


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    """Every field of a configuration, and of those within it."""
    if isinstance(config, dict):
        for name, value in config.items():
            yield name, value
            yield from _fields(value)
