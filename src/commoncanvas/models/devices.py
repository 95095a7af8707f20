"""Where tensors live, and what the CPU needs to be quick with them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import torch

from commoncanvas.core.errors import CommonCanvasError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By the names that recipes and commands give them."""

BF16_PRODUCTS = ("avx512_bf16", "amx_bf16", "bf16")
"""torch's names of what a CPU may have: of x86, and the last of ARM."""

T = TypeVar("T")
R = TypeVar("R")

# glibc's names in malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def pick_device(name: str = "auto") -> torch.device:
    """`auto` is the first GPU if there is one, else the CPU; anything else is torch's own name of a device.

    Raises CommonCanvasError if there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device without values (meta) can't either
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CommonCanvasError(
            f"device {name!r} can't be used ({reason[:200]}); give auto, cpu, or the name of a GPU that torch sees"
        ) from error
    if device.type == "cpu":
        keep_freed_memory()
    return device


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device has bf16 products. Without them (most laptops' CPUs, GPUs before Ampere) it is emulated: on
    a CPU with AVX2 alone a matrix product takes some 80 times as long as in fp32.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # oneDNN computes it; it would also with AVX-512 alone, by way of fp32.
        has = torch.cpu.get_capabilities()
        onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return onednn and any(has.get(name) for name in BF16_PRODUCTS)
    return True


def precision_on(device: torch.device, precision: str) -> str:
    """`precision` as a name in DTYPES: auto is bf16 where the device multiplies it, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(device) else "fp32"


def in_batches(run: Callable[[Sequence[T], int], R], items: Sequence[T], size: int) -> tuple[list[R], int]:
    """What `run` makes of `items`, `size` at once and half as many whenever memory has run out; and that size.

    `run` takes some of them, and the size that their batch is to have. Raises torch.OutOfMemoryError for one alone.
    """
    made: list[R] = []
    start = 0
    while start < len(items):
        chosen = items[start : start + size]
        try:
            made.append(run(chosen, size))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
            continue
        start += len(chosen)
    return made, size


@lru_cache(maxsize=1)
def keep_freed_memory() -> None:
    """Let glibc keep what torch frees, for torch to use again.

    By default each large tensor is mapped afresh and given back to the kernel, so that every step faults all its pages
    in once more; see benchmarks/memory.py for what that costs. Elsewhere than on Linux with glibc this does nothing.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 64 * 2**20)
