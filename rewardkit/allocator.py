"""The C library's allocator, told what training does: the same large buffers again and again."""

from __future__ import annotations

import ctypes
import platform

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
