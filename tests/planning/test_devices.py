"""A device is known by the whole name that its driver gives it, and by none that only looks like it."""

import pytest

from commoncanvas.models.data_sheets import DEVICES, reported_as


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("A100-SXM4-40GB", "a100"),
        ("NVIDIA A100 80GB PCIe", "a100"),
        ("NVIDIA A100-PCIE-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H100 NVL", "h100-nvl"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA B200", "b200"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("Tesla V100-PCIE-32GB", "v100-pcie"),
    ],
)
def test_a_drivers_name_is_that_of_one_row(name: str, device: str) -> None:
    assert reported_as(name) is DEVICES[device]


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb",
        "NVIDIA A100-SXM-64GB",
        "NVIDIA GH200 480GB",
        "NVIDIA GB200",
        "NVIDIA H200 NVL",
        "NVIDIA L40",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "Tesla V100S-PCIE-32GB",
        "Tesla T4",
        "",
    ],
)
def test_a_device_with_a_like_name_is_not_taken_for_one_of_the_table(name: str) -> None:
    assert reported_as(name) is None


def test_no_name_is_of_two_devices() -> None:
    names = [name for device in DEVICES.values() for name in device.reported]
    assert len(names) == len(set(names))
