from types import SimpleNamespace
from typing import Any

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
