"""GPUs by name: what their makers' data sheets say of them, and what `4xA100-80` means.

Products are those of dense bf16 matrices with fp32 sums (data sheets often print twice as much, for sparse ones).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FORM = re.compile(
    r"(?P<number>[1-9]\d*)x(?P<name>[A-Za-z][A-Za-z0-9]*?)(?:-(?P<memory>\d+)(?:GB|GiB)?)?$", re.IGNORECASE
)
PCIE = 32e9  # bytes/s each way: PCI Express 4.0, 16 lanes


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: without its memory.
        memory: GiB.
        flops: FLOP/s of dense bf16 products.
        bandwidth: bytes/s of its memory.
        link: bytes/s to the other GPUs of the machine, each way.
        source: where that is printed.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Some GPUs of one kind, in one machine."""

    number: int
    gpu: Gpu

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.number}x{self.gpu.name}-{self.gpu.memory:g}"


def _gpu(name: str, memory: int, teraflops: float, gigabytes_s: float, link: float, source: str) -> Gpu:
    return Gpu(name=name, memory=memory, flops=teraflops * 1e12, bandwidth=gigabytes_s * 1e9, link=link, source=source)


GPUS = (
    _gpu("A100", 40, 312, 1555, 300e9, "NVIDIA A100 data sheet, SXM, 2021: 312 TFLOPS, 1,555 GB/s, NVLink 600 GB/s"),
    _gpu("A100", 80, 312, 2039, 300e9, "NVIDIA A100 data sheet, SXM, 2021: 312 TFLOPS, 2,039 GB/s, NVLink 600 GB/s"),
    _gpu("H100", 80, 989, 3350, 450e9, "NVIDIA H100 data sheet, SXM, 2023: 1,979 sparse, 3.35 TB/s, NVLink 900 GB/s"),
    _gpu("H200", 141, 989, 4800, 450e9, "NVIDIA H200 data sheet, SXM, 2024: 1,979 sparse, 4.8 TB/s, NVLink 900 GB/s"),
    _gpu(
        "B200", 180, 2250, 8000, 900e9, "NVIDIA DGX B200 data sheet, an eighth: 4,500 sparse, 8 TB/s, NVLink 1.8 TB/s"
    ),
    _gpu("L40S", 48, 362, 864, PCIE, "NVIDIA L40S data sheet, 2023: 362 TFLOPS, 864 GB/s, PCIe 4.0"),
    _gpu("L4", 24, 121, 300, PCIE, "NVIDIA L4 data sheet, 2023: 242 sparse, 300 GB/s, PCIe 4.0"),
    _gpu("A10", 24, 125, 600, PCIE, "NVIDIA A10 data sheet, 2021: 125 TFLOPS, 600 GB/s, PCIe 4.0"),
    _gpu("A6000", 48, 154.8, 768, PCIE, "NVIDIA RTX A6000 data sheet, 2021: 309.7 sparse, 768 GB/s, PCIe 4.0"),
    _gpu("RTX3090", 24, 71, 936, PCIE, "NVIDIA GA102 white paper, 2021: 71 TFLOPS with fp32 sums, 936 GB/s, PCIe 4.0"),
    _gpu("RTX4090", 24, 165.2, 1008, PCIE, "NVIDIA Ada white paper, 2022: 165.2 with fp32 sums, 1,008 GB/s, PCIe 4.0"),
)
"""Those whose data sheets were read; others are measured (`alignment.advisor.measure`)."""


def read_cluster(words: str, *, measured: bool = False) -> Cluster:
    """Reads `4xA100-80`: number, name, and GiB of memory, which may be left out where a name has one size.

    Args:
        measured: whether speeds come from a measurement, so that any name will do; its memory has to be said.

    Raises:
        ValueError: if it has another form, or no such GPU is known.
    """
    form = FORM.match(words)
    if form is None:
        raise ValueError(f"gpus is {words!r}, allowed is NUMBERxNAME-GB as in 4xA100-80")
    number, name, memory = int(form["number"]), form["name"].upper(), int(form["memory"] or 0)
    for gpu in GPUS:
        is_only = sum(other.name == gpu.name for other in GPUS) == 1
        if gpu.name == name and (gpu.memory == memory or (not memory and is_only)):
            return Cluster(number=number, gpu=gpu)
    if measured and memory:
        unknown = Gpu(name=name, memory=memory, flops=0.0, bandwidth=0.0, link=PCIE, source="measured")
        return Cluster(number=number, gpu=unknown)
    known = ", ".join(f"{gpu.name}-{gpu.memory:g}" for gpu in GPUS)
    raise ValueError(f"gpus is {words!r}, known are {known}; on another, --measure times it")
