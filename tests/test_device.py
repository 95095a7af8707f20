import pytest
import torch

from commoncanvas.device import pick_device, precision_on
from commoncanvas.errors import CommonCanvasError


def test_auto_is_a_device_that_works() -> None:
    assert torch.zeros(1, device=pick_device()).item() == 0


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "meta"])
def test_a_device_that_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(CommonCanvasError, match=f"device '{name}' can't be used .* give auto, cpu") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_auto_is_bf16_only_where_the_device_multiplies_it(
    kind: str, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has and kind == "cpu")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: has and kind == "cuda"
    )
    device = torch.device(kind)
    assert precision_on(device, "auto") == ("bf16" if has else "fp32")
    assert [precision_on(device, name) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]


def test_a_torch_without_onednn_takes_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert precision_on(torch.device("cpu"), "auto") == "fp32"
