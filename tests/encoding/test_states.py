import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from commoncanvas.core.errors import CatalogError
from commoncanvas.encoding.states import Storage, from_fp8, state_type, states, to_column, to_fp8

VALUES = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.floats(-60000, 60000, width=32),
)


@given(VALUES)
def test_fp8_keeps_each_value_to_a_sixteenth_or_to_the_rows_least_step(values: np.ndarray) -> None:
    """e4m3 has three bits after the point: half a step is a sixteenth of a value, and below 2^-6 of the scale 2^-10."""
    original = torch.from_numpy(values)
    scale = original.abs().amax(1, keepdim=True) / 448
    error = (from_fp8(to_fp8(original)) - original).abs()
    assert (error <= (original.abs() / 16).maximum(scale * 2**-10) * 1.0001 + 1e-37).all()


@given(VALUES)
def test_a_row_of_fp8_does_not_depend_on_the_others(values: np.ndarray) -> None:
    together = to_fp8(torch.from_numpy(values))
    for number, row in enumerate(values):
        assert torch.equal(to_fp8(torch.from_numpy(row[None])), together[number : number + 1])


@pytest.mark.parametrize(("storage", "bytes_each"), [("fp16", 2 * 24), ("fp8", 4 + 24)])
def test_states_survive_the_way_through_a_column(storage: Storage, bytes_each: int) -> None:
    original = torch.randn(5, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    column = to_column(original, storage, "it")
    assert column.type == state_type((2, 3, 4), storage) and column.flatten().nbytes == 5 * bytes_each
    read = states(pa.chunked_array([column.slice(0, 2), column.slice(2)]), (2, 3, 4))
    assert read.dtype == torch.float16 and read.shape == (5, 2, 3, 4)
    torch.testing.assert_close(read.float(), original, rtol=1 / 16 if storage == "fp8" else 1e-3, atol=2e-3)


def test_values_that_fp16_cannot_hold_are_refused() -> None:
    with pytest.raises(CatalogError, match="the model gives values outside fp16 for 2 rows"):
        to_column(torch.tensor([[1.0, 2], [1e6, 0], [float("nan"), 0]]), "fp8", "the model")
