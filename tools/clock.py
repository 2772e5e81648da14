"""What a piece of work takes: time of the CPU there, of the clock on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """CPU time of this process, or on a GPU the time until all that was asked for is done."""
    if device.type == "cpu":
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start


def rounds(count: int, *work: Callable[[], object], warm: bool = True) -> list[float]:
    """Median seconds of CPU of each, in interleaved rounds; after one that does not count."""
    for one in work if warm else ():
        one()
    seconds: list[list[float]] = [[] for _ in work]
    for _ in range(count):
        for one, times in zip(work, seconds, strict=True):
            start = time.process_time()
            one()
            times.append(time.process_time() - start)
    return [statistics.median(times) for times in seconds]


@contextmanager
def cost(what: str) -> Iterator[None]:
    """Print what a piece of work took, and the most memory this process has had so far."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{what}: {wall:.1f} s ({cpu:.1f} s of CPU), peak resident memory {peak():.2f} GB")


def peak() -> float:
    """GB; of this process alone, where a child would count its parent's too."""
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / 1e9
    raise RuntimeError("Peak memory is read from /proc, which this system does not have.")
