"""Whether a CPU multiplies bf16 faster than fp32: tried where it has instructions for it, once in a process or a run.

AVX512-BF16 is slower than fp32 on some machines and faster on others, and AMX may be there without being let through to
a virtual machine. A run keeps what was chosen when it began (status.json, `bf16`), so that it is resumed with the same.
Who wants the same numbers on every CPU sets oneDNN's own limit, ONEDNN_MAX_CPU_ISA=AVX512_CORE: then nothing is tried.
"""

from __future__ import annotations

import logging
import os
import time

import torch

from rewardkit.distributed import collectives
from rewardkit.run.directory import Run

logger = logging.getLogger(__name__)
# Rows, inputs and outputs of the product that is tried.
SHAPE = (2048, 384, 1024)
TRIAL_S = 0.5  # of both formats together
# bf16 is taken if its product is this many times as fast: weights are cast for it, and it is less exact.
LEAST_GAIN = 1.25
# Values of ONEDNN_MAX_CPU_ISA under which oneDNN multiplies no bf16, whatever the CPU could.
LIMITS_BELOW = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")

_chosen: bool | None = None


def cpu_multiplies_bf16() -> bool:
    """What was chosen in this process, else the outcome of a trial, which is kept."""
    global _chosen
    if _chosen is None:
        _chosen = has_instructions() and _is_faster()
    return _chosen


def keep_through_run(run: Run | None, device: torch.device) -> None:
    """Chooses for a run that begins, or takes what it chose when it began; the same in every process.

    Args:
        run: the first process's; None in the others.
    """
    global _chosen
    if device.type != "cpu":
        return
    chosen = None
    if run is not None:
        chosen = run.bf16
        if chosen is None:
            _chosen = None
            chosen = cpu_multiplies_bf16()
            run.status(bf16=chosen)
    _chosen = collectives.broadcast_object(chosen)


def has_instructions() -> bool:
    """Whether the CPU has AMX or AVX512-BF16, and oneDNN is not told to do without."""
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in LIMITS_BELOW:
        return False
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def _is_faster() -> bool:
    """Tries both formats in turn and tells which is taken; the fastest of each counts, as other load only slows."""
    seconds = fastest_products((torch.float32, torch.bfloat16))
    gain = seconds[torch.float32] / seconds[torch.bfloat16]
    taken = "bf16" if gain >= LEAST_GAIN else "fp32"
    logger.info("precision auto: %s, as bf16 products are %.2f times as fast as fp32 here", taken, gain)
    return gain >= LEAST_GAIN


def fastest_products(dtypes: tuple[torch.dtype, ...]) -> dict[torch.dtype, float]:
    """Seconds of the fastest product in each number format, tried in turn for TRIAL_S, once at least."""
    rows, inputs, outputs = SHAPE
    factors = {
        dtype: (torch.ones(rows, inputs, dtype=dtype), torch.ones(inputs, outputs, dtype=dtype)) for dtype in dtypes
    }
    seconds = dict.fromkeys(dtypes, float("inf"))
    end = time.perf_counter() + TRIAL_S
    while True:
        for dtype, (left, right) in factors.items():
            started = time.perf_counter()
            torch.mm(left, right)
            seconds[dtype] = min(seconds[dtype], time.perf_counter() - started)
        if time.perf_counter() >= end:
            return seconds
