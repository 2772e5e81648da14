"""Measure which share of an index and of a trace is spent on checksums and flushing.

    python -m tools.bench_checksums --images 200 --rounds 3

The functions that hash, check and flush are timed within a complete run on the model of the icons
benchmark, since differences between runs with and without them are smaller than their noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import creditline as cl
from creditline import checksum, files, stored_arrays, stored_json
from creditline.benchmarks.benchmark import get
from creditline.benchmarks.shipped_benchmark import find
from creditline.indexing import factor_blocks, factor_cache, table_record, table_version

PLACES: dict[Any, tuple[str, ...]] = {
    checksum: ("of_file", "of_json"),
    checksum.FileRecord: ("check",),
    files: ("flush",),
    factor_cache: ("describe",),
    table_version: ("flush", "facts_checksum"),
    table_record.TableRecord: ("check", "write"),
    stored_arrays: ("check_tensors", "check_array", "_measure"),
    stored_json: ("with_checksum", "is_intact"),
    factor_blocks.BlockWriter: ("append",),
    factor_blocks.FactorBlocks: ("__init__", "check", "check_rows"),
}


class Stopwatch:
    """Seconds within some functions, those within each other counted once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is timed."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - start

        return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    watch = Stopwatch()
    for place, names in PLACES.items():
        for name in names:
            setattr(place, name, watch.timed(getattr(place, name)))
    case = find(get("icons"))
    images = case.images()[0].subset(range(options.images))
    query = sorted(case.generated.glob("*.png"))[0]
    shares: dict[str, list[tuple[float, float]]] = {"index": [], "first trace": [], "trace": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            out = Path(folder) / str(number)

            def step(name: str, work: Callable[[], Any]) -> None:
                watch.seconds, start = 0.0, time.perf_counter()
                work()
                shares[name].append((time.perf_counter() - start, watch.seconds))

            def trace(out: Path = out) -> None:
                checksum._intact.clear()  # as a new process
                cl.open_index(out).trace(query)

            def index(out: Path = out) -> None:
                cl.index(case.model, images, out=out, timesteps=options.timesteps)

            step("index", index)
            step("first trace", trace)
            step("trace", trace)
    for name, pairs in shares.items():
        total = statistics.median(total for total, _ in pairs)
        own = statistics.median(own for _, own in pairs)
        print(f"{name}: {total:.2f} s, {1000 * own:.1f} ms for checks, {own / total:.2%}")


if __name__ == "__main__":
    main()
