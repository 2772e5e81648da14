"""The number of CPU threads that torch uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def cpu_threads(number: int | None) -> Iterator[None]:
    """Use a number of CPU threads, then the former one again; None changes nothing."""
    import torch

    before = torch.get_num_threads()
    if number is None or number == before:  # setting the same number again takes a millisecond
        yield
        return
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def single_thread() -> AbstractContextManager[None]:
    """Use one CPU thread, so that results are bitwise equal whichever worker computes them.

    Threads share sums out among themselves, so their number changes rounding. Parallel work is
    done by several workers instead.
    """
    return cpu_threads(1)
