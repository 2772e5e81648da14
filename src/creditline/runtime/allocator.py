"""Settings of the C library's allocator, so that one pass reuses the memory of the last.

glibc returns memory to the system whenever much of it is free, at the end of every pass through a
network. The next pass maps and clears it again, page by page. With thin layers that takes up to a
tenth of the time.
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
"""Larger blocks always return to the system; glibc has no larger bound."""
NEVER = 2**31 - 1
_contexts: list[None] = []
SETTINGS = "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Keep freed memory with the process; at the end, return what is free to the system.

    Afterwards the bounds are those that glibc itself sets when a large block is freed. Nothing
    changes inside another such context, without glibc, or where the environment sets the allocator.
    """
    libc = _glibc()
    if libc is None or any(name in os.environ for name in SETTINGS):
        yield
        return
    _contexts.append(None)
    if len(_contexts) == 1:
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _contexts.pop()
        if not _contexts:
            libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
            libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
