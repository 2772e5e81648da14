"""Random damage to stored files, and what comes of it."""

from __future__ import annotations

import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from creditline.errors import CreditlineError

WAYS = ("flip", "flip 8", "cut", "empty", "zero", "garbage", "append", "delete")
SECONDS = 60
"""An answer may not take longer."""
Answer = Callable[[Path], Any]


def damage(path: Path, way: str, rng: np.random.Generator) -> None:
    """Damage a file in one of `WAYS`."""
    data = bytearray(path.read_bytes())
    place = int(rng.integers(max(1, len(data))))
    for _ in range({"flip": 1, "flip 8": 8}.get(way, 0) if data else 0):
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    if way == "cut":
        data = data[:place]
    elif way == "zero":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif way == "garbage":
        data = bytearray(rng.bytes(len(data)))
    elif way == "append":
        data += rng.bytes(16)
    if way == "delete":
        path.unlink()
    else:
        path.write_bytes(b"" if way == "empty" else data)


def outcomes(folder: Path, answer: Answer, count: int, seed: int) -> Counter[str]:
    """Damage files one by one; count what is refused and what is right, and fail on the rest.

    Args:
        folder: intact.
        answer: reads something from a copy of it.
        count: mutations.
        seed: of the choice of files, ways and places.
    """
    rng, counts = np.random.default_rng(seed), Counter[str]()
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    expected = answer(copy)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    rng.shuffle(files)
    for i in range(count):
        file, way = files[i % len(files)], WAYS[int(rng.integers(len(WAYS)))]
        shutil.rmtree(copy)
        shutil.copytree(folder, copy)
        damage(copy / file, way, rng)
        with warnings.catch_warnings(), _limit_time(f"{file}, {way}"):
            warnings.simplefilter("ignore")
            try:
                result = answer(copy)
            except CreditlineError:
                counts["refused"] += 1
                continue
            except BaseException as error:
                raise AssertionError(f"{file}, {way}: {error!r}") from error
        assert result == expected, f"{file}, {way}: another answer"
        counts["right"] += 1
    return counts


@contextmanager
def _limit_time(name: str) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"{name}: more than {SECONDS} seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
