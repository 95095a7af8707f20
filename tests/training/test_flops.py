from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from commoncanvas.training.flops import peak_flops, sample_flops


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)
        self.inwards = nn.Linear(8, 8)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.inwards(self.norm(batch["x"]))
        return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]).square().mean()


def test_a_sample_counts_its_products_forward_and_twice_backward() -> None:
    task: Any = SimpleNamespace(loss=lambda model, batch: model(batch))
    model = Attending().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    linear, scores, values = 2 * 6 * 8 * 8, 2 * 6 * 8 * 6, 2 * 6 * 6 * 8
    assert sample_flops(task, model, {"x": torch.randn(5, 6, 8)}) == 3 * (linear + scores + values)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_measured_peak_is_what_no_product_beats_by_far() -> None:
    peak = peak_flops(torch.device("cpu"), torch.float32)
    assert 1e9 < peak < 1e14


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756.5e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("Tesla V100-SXM2-16GB", None),  # it has no bf16: its peak is another precision's
    ],
)
def test_a_gpus_peak_is_that_of_its_own_data_sheet_or_is_measured(
    name: str, peak: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*shape: int, **options: object) -> Tensor:
        raise InterruptedError

    # There is no GPU here: whether one is measured shows when a matrix for it is made.
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(torch, "ones", measured)
    device = torch.device("cuda")
    if peak:
        assert peak_flops(device, torch.bfloat16) == peak
    else:
        with pytest.raises(InterruptedError):
            peak_flops(device, torch.bfloat16)
    with pytest.raises(InterruptedError):
        peak_flops(device, torch.float32)
