"""Random damage to files of others, and a bound on what reading them may cost."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from creditline.errors import CreditlineError

SECONDS = 20
"""A file may not take longer."""

MEGABYTES = 1200
"""All files together may not raise the largest memory of the process by more."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite bytes."""
    result = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(result))
        kind = rng.randrange(8)
        if kind == 0:
            result[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del result[at:]
        elif kind == 2:
            result[at:at] = result[at : at + rng.randrange(1, 60)]
        elif kind == 3:
            result[at:at] = rng.randbytes(rng.randrange(1, 20))
        elif kind == 4:
            size = min(rng.randrange(1, 40), len(result) - at)
            result[at : at + size] = rng.choice((b"\0", b"\xff")) * size
        elif kind == 5:  # headers decide most
            result[rng.randrange(min(64, len(result)))] = rng.randrange(256)
        elif kind == 6:
            number = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 30_000, 65_535))
            start = rng.randrange(min(64, len(result)))
            result[start : start + 4] = number.to_bytes(4, rng.choice(("big", "little")))
        else:
            del result[at : at + rng.randrange(1, 12)]
        if not result:
            result = bytearray(b"\0")
    return bytes(result)


def count_refusals(inputs: Iterator[bytes], read: Callable[[bytes], object]) -> int:
    """Read every input; only errors of Creditline may come, in bounded time and memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for number, data in enumerate(inputs):
        try:
            with time_limit(f"input {number}"):
                read(data)
        except CreditlineError:
            refused += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEGABYTES, f"reading took {grown:.0f} MB"
    return refused


@contextmanager
def time_limit(name: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"{name} took more than {SECONDS} seconds")

    # Computing is counted by the processor's time, so that a busy machine changes nothing; waiting
    # for something that never comes is found by the clock.
    limits = [(signal.SIGPROF, signal.ITIMER_PROF, 1), (signal.SIGALRM, signal.ITIMER_REAL, 10)]
    previous = [signal.signal(number, stop) for number, _, _ in limits]
    for _, timer, times in limits:
        signal.setitimer(timer, times * SECONDS)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(limits, previous, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)
