"""Devices that a training can be planned on: what their makers' data sheets say of them."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.errors import CommonCanvasError


@dataclass(frozen=True)
class Device:
    """`peak`: dense FLOP/s of matrix products in bf16 (with sums in fp32), without sparsity, a multiply-add being two;
    `memory`: bytes. `source`: the data sheet that says so. `bf16`: False where the device has none: its peak is fp16's.
    """

    name: str
    peak: float
    memory: float
    source: str
    bf16: bool = True


DEVICES = {
    device.name: device
    for device in (
        Device("a100", 312e12, 80e9, "NVIDIA A100 Tensor Core GPU data sheet: A100 80GB SXM"),
        Device(
            "h100", 989.5e12, 80e9, "NVIDIA H100 Tensor Core GPU data sheet: H100 SXM, 1,979 with sparsity"
        ),
        Device(
            "h200", 989.5e12, 141e9, "NVIDIA H200 Tensor Core GPU data sheet: H200 SXM, 1,979 with sparsity"
        ),
        Device(
            "b200",
            2250e12,
            180e9,
            "NVIDIA DGX B200 data sheet: an eighth of 1,440 GB and of 36 PFLOPS sparse",
        ),
        Device("v100", 125e12, 32e9, "NVIDIA V100 data sheet: V100 32GB SXM2, fp16", bf16=False),
        Device("l40s", 362.05e12, 48e9, "NVIDIA L40S data sheet"),
        Device(
            "rtx4090", 165.2e12, 24e9, "NVIDIA Ada GPU architecture white paper, appendix A: GeForce RTX 4090"
        ),
    )
}


def device_of(name: str) -> Device:
    """The device called `name`, in any case. Raises CommonCanvasError for one that isn't in the table."""
    device = DEVICES.get(name.lower())
    if device is None:
        raise CommonCanvasError(
            f"--device {name}: there are figures of {', '.join(DEVICES)}; give one of them"
        )
    return device
