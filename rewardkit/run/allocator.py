"""The memory of a process: the C library's allocator told what training does, and how much there was at most."""

from __future__ import annotations

import ctypes
import platform
import resource
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt(3)


def keep_large_buffers() -> bool:
    """Lets freed buffers stay with the process instead of going back to the kernel after every operation.

    Otherwise each large tensor on a CPU is mapped and zeroed page by page again. Only for glibc; returns whether it was
    done. Belongs into a command, before torch: it changes the whole process.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    return all(
        libc.mallopt(option, value)
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20))
    )


def peak_mb() -> float:
    """The most memory that this process had resident, MiB; without what it inherited from the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)
