"""Devices and precisions for tensors, and memory settings that make the CPU faster."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar

import torch
from torch import nn

from commoncanvas.core.errors import CommonCanvasError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Name in recipes and commands -> torch's type."""

BF16_PRODUCTS = ("avx512_bf16", "amx_bf16", "bf16")
"""torch's names of CPU features with bf16 products: two of x86, the last of ARM."""

T = TypeVar("T")
R = TypeVar("R")

# Constants from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def converted(module: nn.Module, precision: str) -> None:
    """Convert a module's weights in place to the type of DTYPES. diffusers' own `to` prints advice about it."""
    nn.Module.to(module, DTYPES[precision])


def pick_device(name: str = "auto") -> torch.device:
    """`auto`: the first GPU if there is one, else the CPU. Any other name is torch's name of a device.

    Raises CommonCanvasError if the device can't be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # also fails for a device without values (meta)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CommonCanvasError(
            f"device {name!r} can't be used ({reason[:200]}); use auto, cpu, or the name of a GPU that torch finds"
        ) from error
    if device.type == "cpu":
        keep_freed_memory()
    return device


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the device supports bf16 products natively. Most laptop CPUs and GPUs before Ampere emulate them: on a
    CPU with only AVX2, a matrix product takes about 80 times as long as in fp32.
    """
    if device.type == "cuda":
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # oneDNN computes the products. With only AVX-512 it would convert to fp32.
        has = torch.cpu.get_capabilities()
        onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        return onednn and any(has.get(name) for name in BF16_PRODUCTS)
    return True


def precision_on(device: torch.device, precision: str) -> str:
    """`precision` as a name in DTYPES. `auto`: bf16 if the device supports it natively, else fp32."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16(device) else "fp32"


def in_batches(run: Callable[[Sequence[T], int], R], items: Sequence[T], size: int) -> tuple[list[R], int]:
    """Call `run` on `items` in batches of `size`; returns the results and the last batch size.

    When memory runs out, the size is halved. `run` gets some items and the batch size. Raises torch.OutOfMemoryError if
    one item is too large.
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
    """Let glibc keep memory that torch frees, so that torch can use it again.

    By default, glibc maps new memory for each large tensor and returns it to the kernel. So every step causes page
    faults again; benchmarks/memory.py measures the cost. Does nothing without Linux and glibc.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 64 * 2**20)
