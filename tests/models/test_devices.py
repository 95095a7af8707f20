from contextlib import nullcontext

import pytest
import torch

from commoncanvas.core.errors import CommonCanvasError
from commoncanvas.models.devices import pick_device, precision_on


def test_auto_is_a_device_that_works() -> None:
    assert torch.zeros(1, device=pick_device()).item() == 0


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "meta"])
def test_a_device_that_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(CommonCanvasError, match=f"device '{name}' can't be used .* use auto, cpu") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_auto_is_bf16_only_where_the_device_multiplies_it(
    kind: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    capabilities = {"avx512_bw": True, "avx512_bf16": has and kind == "cpu"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: has and kind == "cuda"
    )
    monkeypatch.setattr(torch.cuda, "device", nullcontext)  # there may be none to be the current one
    device = torch.device(kind)
    assert precision_on(device, "auto") == ("bf16" if has else "fp32")
    assert [precision_on(device, name) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_a_torch_without_onednn_takes_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"bf16": True})  # an Apple M2's
    assert precision_on(torch.device("cpu"), "auto") == "bf16"
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert precision_on(torch.device("cpu"), "auto") == "fp32"
