"""What is free goes back to the system when it ends, and not before."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from creditline.runtime import allocator

PROGRAM = """
import ctypes
from pathlib import Path
from creditline.runtime.allocator import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
MB = 1 << 20

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MB

def use():
    blocks = [libc.malloc(8 * MB) for _ in range(40)]
    for block in blocks:
        ctypes.memset(block, 1, 8 * MB)
    for block in blocks:
        libc.free(block)

start = resident()
with keep_freed_memory():
    with keep_freed_memory():
        use()
    inside = resident() - start
print(inside, resident() - start)
"""
NEEDS_GLIBC = pytest.mark.skipif(allocator._glibc() is None, reason="another C library")


def _grown(**environment: str) -> list[int]:
    """Megabytes kept inside and after, of 320 that were used and freed."""
    others = {k: v for k, v in os.environ.items() if k not in allocator.SETTINGS}
    printed = subprocess.check_output(
        [sys.executable, "-c", PROGRAM], env=others | environment, text=True
    )
    return [int(word) for word in printed.split()]


@pytest.mark.slow
@NEEDS_GLIBC
def test_freed_memory_stays_with_the_process_for_as_long():
    inside, after = _grown()
    assert inside > 300
    assert after < 40


@pytest.mark.slow
@NEEDS_GLIBC
def test_settings_of_the_environment_stand():
    inside, _ = _grown(MALLOC_TRIM_THRESHOLD_="0", MALLOC_MMAP_THRESHOLD_="131072")
    assert inside < 40


def test_an_error_passes_through():
    with pytest.raises(ZeroDivisionError), allocator.keep_freed_memory():
        _ = 1 / 0
