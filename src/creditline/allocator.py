"""The C library's allocator, told to keep what a pass frees for the next one.

glibc gives memory back to the system whenever much of it is free, which is at the end of every pass
through a network: the next one has it mapped and cleared again, page by page. With thin layers that
is as much as a tenth of the time.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20
"""Blocks above it always go back; glibc knows no larger bound."""
NEVER = 2**31 - 1
_within: list[None] = []
SETTINGS = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Meanwhile freed memory stays with the process; afterwards what is free goes back.

    It leaves the bounds that glibc arrives at by itself when a large block is freed. Within another
    one, and without glibc, or where the environment has settings of its own, nothing changes.
    """
    libc = _glibc()
    if libc is None or any(name in os.environ for name in SETTINGS):
        yield
        return
    _within.append(None)
    if len(_within) == 1:
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _within.pop()
        if not _within:
            libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
            libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
