"""Load pretrained networks, tokenizers and processors completely, or raise a one-line error. A model's own code never
runs. All calls of `from_pretrained` in this package are here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
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
"""Libraries whose classes a pipeline's parts may have."""
VARIANTS = ("fp16", "bf16")
"""Variants with half-precision weights, used if a model has no others."""
POOLER = "pooler."
"""Weights on top of a text encoder that no pipeline uses. Many checkpoints don't have them."""
ATTENTION = (None, "eager", "sdpa")
"""Allowed attention implementations. Others would be downloaded from the hub and run."""
DESCRIPTIONS = ("tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
CLASS_FIELDS = ("tokenizer_class", "processor_class", "image_processor_type", "feature_extractor_type")
"""Fields of DESCRIPTIONS that can name any class of transformers."""
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
    """Load the network in a folder or of a hub id as class `kind` of transformers or diffusers, in evaluation mode.

    Raises ModelError unless the files contain exactly the network's weights. The message begins with `what` and
    `model`, and names `as_kind`.
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
        nn.init.zeros_(network.get_parameter(name))  # zeros, not random values, because digests include them
    stated = config.get("model_type") or config.get("_class_name")
    _check_weights(f"{what} {model}", stated, network, missing - unread, report["unexpected_keys"])
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
    """Load the tokenizer or processor in a folder or of a hub id as class `kind`. Raises ModelError."""
    locate(model, what)
    names = [(kind.__name__, "the pipeline")]
    for file in DESCRIPTIONS:
        fields = read_json(model, file, subfolder, revision, what)
        names += [(fields[field], file) for field in CLASS_FIELDS if isinstance(fields.get(field), str)]
    for name, where in names:
        _check_class(name, f"{what} {model}: class {name}, which {where} names,")
    return _loaded(kind, model, what, subfolder, revision, as_kind)


def _check_class(name: str, what: str) -> None:
    """Raise ModelError if `name` is a class of transformers but not a tokenizer or processor."""
    kind = getattr(transformers, name, None)
    known = (
        transformers.PreTrainedTokenizerBase,
        transformers.ProcessorMixin,
        transformers.FeatureExtractionMixin,
        transformers.ImageProcessingMixin,
        transformers.AutoTokenizer,
        transformers.AutoProcessor,
    )
    # A class with missing packages raises its own error when it is loaded.
    if kind is None or isinstance(kind, DummyObject) or (isinstance(kind, type) and issubclass(kind, known)):
        return
    raise ModelError(f"{what} is not a tokenizer or processor of transformers; use another model")


def load_pipeline(model: str) -> Any:
    """Load the diffusers pipeline in a model folder or of a hub id, without a safety checker. Raises ModelError."""
    what = "model"
    index = read_json(model, "model_index.json", what=what)
    kind = index.get("_class_name")
    if not isinstance(kind, str) or not hasattr(diffusers, kind):
        raise ModelError(
            f"{what} {model} is of class {kind}, which diffusers doesn't have; a model's own code is never run"
        )
    networks: dict[str, Any] = {"safety_checker": None}
    for name, part in index.items():
        if not isinstance(part, list) or None in part or name in networks:
            continue
        library, class_name = part
        found = getattr(LIBRARIES.get(library), class_name, None)
        if found is None:
            raise ModelError(
                f"{what} {model}: its {name} is {library}'s {class_name}, which neither diffusers nor transformers "
                "has; a model's own code is never run"
            )
        if issubclass(found, nn.Module):
            networks[name] = load_network(found, model, f"{name} of", subfolder=name)
        elif library == "transformers":
            networks[name] = load_tokenizer(found, model, f"{name} of", subfolder=name)
    return _loaded(diffusers.DiffusionPipeline, model, what, "", None, "", use_safetensors=True, **networks)


@contextmanager
def no_questions() -> Iterator[None]:
    """For other libraries that load with transformers: refuse a model's own code without asking the user."""
    before, dynamic_module_utils.TIME_OUT_REMOTE_CODE = dynamic_module_utils.TIME_OUT_REMOTE_CODE, 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


def refuse_code(config: dict[str, Any], what: str) -> None:
    """Raise ModelError if a configuration would download kernels from the hub and run them."""
    for name, value in _fields(config):
        wants = value if name in ("use_kernels", "kernel_config") else None
        if name.removeprefix("_").startswith(("attn_implementation", "experts_implementation")):
            values = value.values() if isinstance(value, dict) else [value]
            wants = next((one for one in values if one not in ATTENTION), None)
        if wants:
            raise ModelError(
                f"{what}: {name} {wants!r} in its config.json needs code from the hub, which is never run; remove the "
                "field"
            )


def _loaded(
    kind: Any, model: str, what: str, subfolder: str, revision: str | None, as_kind: str, **options: Any
) -> Any:
    try:
        return kind.from_pretrained(
            model,
            **({"subfolder": subfolder} if subfolder else {}),
            revision=revision or "main",
            # A folder needs no question whether the hub answers.
            local_files_only=Path(model).exists() or unreachable() is not None,
            trust_remote_code=False,
            **options,
        )
    except CommonCanvasError:
        raise
    except Exception as error:  # these libraries raise many types for broken files
        files = ("config.json", *DESCRIPTIONS)
        if any("auto_map" in read_json(model, name, subfolder, revision) for name in files):
            reason = (
                "it needs its own code (auto_map), which is never run; use a model that transformers supports"
            )
        else:
            reason = one_line(error) or type(error).__name__
        kind_text = f" as {as_kind}" if as_kind else ""
        raise ModelError(f"{what} {model} can't be loaded{kind_text}: {reason}") from error


def _check_weights(
    what: str, stated: str | None, network: Any, missing: Iterable[str], unexpected: Iterable[str]
) -> None:
    """Raise ModelError for missing weights, and for unexpected weights in a part that the network has."""
    parts = dict(network.named_children())
    other = [name for name in unexpected if "." in name and name.partition(".")[0] in parts]
    faults = [
        f"{text} {len(names)} of its weights ({_some(names)})"
        for text, names in (("lacks", sorted(missing)), ("has no place for", sorted(other)))
        if names
    ]
    if faults:
        raise ModelError(
            f"{what} {' and '.join(faults)}: it is not a complete {type(network).__name__} (its config.json says "
            f"{stated}); download it again, or use another model"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _variant(kind: Any, model: str, subfolder: str, revision: str | None) -> str | None:
    """The one of VARIANTS in which the model has weights, if it has no plain weights; else None."""
    stem = "diffusion_pytorch_model" if issubclass(kind, ModelMixin) else "model"
    for variant in (None, *VARIANTS):
        infix = f".{variant}" if variant else ""
        names = (f"{stem}{infix}.safetensors", f"{stem}.safetensors.index{infix}.json")
        if any(find(model, name, subfolder, revision) for name in names):
            return variant
    return None


def _fields(config: Any) -> Iterator[tuple[str, Any]]:
    """All fields of a configuration, also nested ones."""
    if isinstance(config, dict):
        for name, value in config.items():
            yield name, value
            yield from _fields(value)
