"""Make the C library keep memory between training steps on CPU."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Ask glibc not to hand large blocks back to the system as soon as they are freed; whether it agreed.

    A training step frees and takes the same hundreds of megabytes again; every page handed back costs a
    page fault, a third of a small model's step (docs/log.md). No effect on CUDA memory, and none on
    systems without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    largest = 2**31 - 1
    return bool(libc.mallopt(_MMAP_THRESHOLD, 2**30) and libc.mallopt(_TRIM_THRESHOLD, largest))
