import pytest
import torch

from commoncanvas.device import pick_device
from commoncanvas.errors import CommonCanvasError


def test_auto_is_a_device_that_works() -> None:
    assert torch.zeros(1, device=pick_device()).item() == 0


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "", "meta"])
def test_a_device_that_cannot_be_used_is_named(name: str) -> None:
    with pytest.raises(CommonCanvasError, match=f"device '{name}' can't be used .* give auto, cpu") as caught:
        pick_device(name)
    assert "\n" not in str(caught.value)
