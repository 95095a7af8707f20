"""Devices for which a training can be planned, with figures from their data sheets."""

from __future__ import annotations

from dataclasses import dataclass

from commoncanvas.core.errors import CommonCanvasError


@dataclass(frozen=True)
class Device:
    """`peak`: dense FLOP/s of matrix products in bf16 (with sums in fp32), without sparsity; a multiply-add counts as
    two. `memory`: bytes. `source`: the data sheet. `reported`: names that `torch.cuda.get_device_name` returns.
    `bf16`: False if the device has no bf16; then `peak` is for fp16.
    """

    name: str
    peak: float
    memory: float
    source: str
    reported: tuple[str, ...]
    bf16: bool = True


_A100 = "NVIDIA A100 Tensor Core GPU data sheet (1758950 r4): 312, the same for SXM and PCIe, 40 and 80 GB"
_H100 = "NVIDIA H100 Tensor Core GPU data sheet"
_V100 = "NVIDIA V100 data sheet (1165301 r5)"

# If a data sheet gives only a figure with sparsity, the dense figure is half of it.
DEVICES = {
    device.name: device
    for device in (
        Device(
            "a100",
            312e12,
            80e9,
            _A100,
            (
                "NVIDIA A100-SXM4-80GB",
                "NVIDIA A100-SXM4-40GB",
                "NVIDIA A100 80GB PCIe",
                "NVIDIA A100-PCIE-40GB",
            ),
        ),
        Device(
            "h100",
            989.5e12,
            80e9,
            f"{_H100}: H100 SXM, 1,979 with sparsity",
            ("NVIDIA H100 80GB HBM3",),
        ),
        Device(
            "h100-pcie",
            756.5e12,
            80e9,
            f"{_H100} of 2022: H100 PCIe, 1,513 with sparsity",
            ("NVIDIA H100 PCIe",),
        ),
        Device(
            "h100-nvl",
            835e12,
            94e9,
            # The first data sheets gave the sum of a pair, at the SXM's clock.
            "NVIDIA's page of the H100: H100 NVL, as quoted in torchtitan (tools/utils.py)",
            ("NVIDIA H100 NVL",),
        ),
        Device(
            "h200",
            989.5e12,
            141e9,
            "NVIDIA H200 Tensor Core GPU data sheet: H200 SXM, 1,979 with sparsity",
            ("NVIDIA H200",),
        ),
        Device(
            "b200",
            2250e12,
            180e9,
            "NVIDIA Blackwell data sheet (3384703): a GPU of HGX B200, 4,500 with sparsity",
            ("NVIDIA B200",),
        ),
        Device(
            "v100",
            125e12,
            32e9,
            f"{_V100}: V100 SXM2, fp16",
            ("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
            bf16=False,
        ),
        Device(
            "v100-pcie",
            112e12,
            32e9,
            f"{_V100}: V100 PCIe, fp16",
            ("Tesla V100-PCIE-16GB", "Tesla V100-PCIE-32GB"),
            bf16=False,
        ),
        Device("l40s", 362.05e12, 48e9, "NVIDIA L40S data sheet (28413)", ("NVIDIA L40S",)),
        Device(
            "rtx4090",
            165.2e12,
            24e9,
            "NVIDIA Ada GPU architecture white paper, appendix A: GeForce RTX 4090, bf16 with fp32 accumulate",
            ("NVIDIA GeForce RTX 4090",),
        ),
    )
}


def device_of(name: str) -> Device:
    """The device called `name`, ignoring case. Raises CommonCanvasError if it isn't in the table."""
    device = DEVICES.get(name.lower())
    if device is None:
        raise CommonCanvasError(f"--device {name} is not known; choose one of: {', '.join(DEVICES)}")
    return device


def reported_as(name: str) -> Device | None:
    """The device that a driver calls `name`; None if it isn't in the table.

    The complete name must match: an `NVIDIA GeForce RTX 4090 Laptop GPU`, an `NVIDIA GB200` or a part of an A100 (`...
    MIG 1g.10gb`) is another device with another peak.
    """
    bare = name.removeprefix("NVIDIA ")  # drivers before 2021 left it out
    return next(
        (
            device
            for device in DEVICES.values()
            if bare in (each.removeprefix("NVIDIA ") for each in device.reported)
        ),
        None,
    )
