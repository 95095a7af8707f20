"""How states are stored: a FixedSizeList for each row, of fp16 values, or of a scale and fp8 values (e4m3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import torch
from torch import Tensor

from commoncanvas.core.errors import CatalogError
from commoncanvas.core.text import counted

Storage = Literal["fp16", "fp8"]

SCALE_BYTES = 4
"""An fp8 row begins with its scale: float32, little-endian."""
FP8_MAX = 448.0
"""The largest number of e4m3 (arXiv 2209.05433, table 1)."""


def state_type(shape: Sequence[int], storage: Storage) -> pa.DataType:
    """The column type of values of `shape`."""
    count = math.prod(shape)
    return pa.list_(pa.float16(), count) if storage == "fp16" else pa.list_(pa.uint8(), SCALE_BYTES + count)


def to_column(states_BX: Tensor, storage: Storage, made_by: str) -> pa.Array:
    """States [B, ...] -> B rows. Raises CatalogError, which names `made_by`, for values that fp16 can't store."""
    floats = states_BX.detach().float().cpu().flatten(1)
    halves = floats.half()
    bad = ~torch.isfinite(halves).all(1)
    if bad.any():
        raise CatalogError(
            f"{made_by} gives values outside fp16 for {counted(int(bad.sum()), 'rows')}; it is broken"
        )
    if storage == "fp16":
        return pa.FixedSizeListArray.from_arrays(pa.array(halves.numpy().reshape(-1)), floats.shape[1])
    rows = to_fp8(floats)
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.numpy().reshape(-1)), rows.shape[1])


def states(column: pa.ChunkedArray, shape: Sequence[int]) -> Tensor:
    """A column of N rows, in either storage -> fp16 tensor [N, *shape]."""
    return values(stored(column, shape), shape).half()


def stored(column: pa.ChunkedArray, shape: Sequence[int]) -> Tensor:
    """A column of N rows as stored: fp16 [N, *shape], or fp8's bytes [N, M]. `values` decodes them later, on a device
    that is faster than a loader's thread.
    """
    found = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    tensor = torch.from_numpy(found.copy())  # Arrow's memory must not be written to
    return tensor.view(len(column), -1) if tensor.dtype == torch.uint8 else tensor.view(len(column), *shape)


def values(stored: Tensor, shape: Sequence[int]) -> Tensor:
    """Decode the result of `stored`, on any device -> float32 [N, *shape]."""
    return from_fp8(stored).view(-1, *shape) if stored.dtype == torch.uint8 else stored.float()


def to_fp8(values_BN: Tensor) -> Tensor:
    """float32 [B, N] -> bytes [B, 4 + N]: the scale that puts the row's largest value at FP8_MAX, and value / scale."""
    scale_B1 = values_BN.abs().amax(1, keepdim=True) / FP8_MAX
    scale_B1 = torch.where(scale_B1 > 0, scale_B1, 1.0)
    small_BN = (values_BN / scale_B1).clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
    return torch.cat([scale_B1.contiguous().view(torch.uint8), small_BN.view(torch.uint8)], dim=1)


def from_fp8(rows_BM: Tensor) -> Tensor:
    """Bytes [B, 4 + N] -> float32 [B, N]."""
    scale_B1 = rows_BM[:, :SCALE_BYTES].clone(memory_format=torch.contiguous_format).view(torch.float32)
    return rows_BM[:, SCALE_BYTES:].view(torch.float8_e4m3fn).float() * scale_B1
