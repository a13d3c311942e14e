"""Memory of the process: large blocks that are freed stay with the process instead of going back to the system.

A training step allocates the same large tensors again and again. By default glibc takes each from the system, which
clears every page anew: on images of 32 px that is a fifth of a step (measured by benchmarks/memory.py).
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of <malloc.h>


@cache
def keep_freed_memory() -> bool:
    """Tells glibc, once, to keep what is freed; elsewhere it does nothing. Returns whether it took effect."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False  # another C library
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**28))
    return all(mallopt(option, value) == 1 for option, value in wanted)
