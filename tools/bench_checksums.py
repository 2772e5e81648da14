"""Compare runs with checksums and flushing with runs without them.

    python -m tools.bench_checksums --images 60 --timesteps 2 --rounds 3
    python -m tools.bench_checksums --pixels 20000 --rounds 2

The first form indexes images of the icons benchmark with its model. The second needs no model, so
that nearly all of its time is spent on storing and reading: random images of 26 x 26 pixels, whose
2,028 values are their features. Both kinds of run alternate, each with an index of its own.

The difference of two runs is smaller than their noise. So the time within the functions that hash,
check and flush is measured as well, in the runs that have them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

import creditline as cl
from creditline import checksum, files, manifest, stored_arrays, stored_json
from creditline.benchmarks.benchmark import get
from creditline.benchmarks.shipped_benchmark import find
from creditline.data.image_set import ImageSet
from creditline.diffusion import generation
from creditline.indexing import factor_blocks, factor_cache, table_record, table_version

TIMED: dict[Any, tuple[str, ...]] = {
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
SIDE = 26
NONE = "0" * checksum.LENGTH


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


class NoHash:
    """A hash of nothing."""

    def update(self, data: Any) -> None:
        """Read nothing."""

    def intdigest(self) -> int:
        """Return the same for everything."""
        return 0


@contextmanager
def without_checks() -> Iterator[None]:
    """Leave out all hashing and flushing."""
    no_hash = SimpleNamespace(xxh3_64=NoHash, xxh3_64_intdigest=lambda _: 0)
    with (
        patch.object(checksum, "of_file", lambda *_, **__: NONE),
        patch.object(checksum, "of_json", lambda _: NONE),
        patch.object(checksum.FileRecord, "check", lambda *_: None),
        patch.object(stored_json, "is_intact", lambda _: True),
        patch.object(manifest, "is_intact", lambda _: True),
        patch.object(generation, "is_intact", lambda _: True),
        patch.object(table_version, "facts_checksum", lambda _: NONE),
        patch.object(files, "flush", lambda _: None),
        patch.object(table_version, "flush", lambda _: None),
        patch.object(factor_blocks, "xxhash", no_hash),
    ):
        yield


@contextmanager
def with_stopwatch(watch: Stopwatch) -> Iterator[None]:
    """Time all hashing, checking and flushing."""
    pairs = [(place, name) for place, names in TIMED.items() for name in names]
    before = [getattr(place, name) for place, name in pairs]
    for (place, name), function in zip(pairs, before, strict=True):
        setattr(place, name, watch.timed(function))
    try:
        yield
    finally:
        for (place, name), function in zip(pairs, before, strict=True):
            setattr(place, name, function)


def steps(options: argparse.Namespace) -> Callable[[Path], dict[str, Callable[[], Any]]]:
    """Return what makes the steps of a run in a folder, in order."""
    if options.pixels:
        shape = (options.pixels + 10, SIDE, SIDE, 3)
        images = ImageSet.from_images(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
        model: Any = None
        query: Any = images.subset([0])
        settings: dict[str, Any] = {"method": "pixel-centered"}
    else:
        case = find(get("icons"))
        images, model = case.images()[0].subset(range(options.images + 10)), case.model
        query = sorted(case.generated.glob("*.png"))[0]
        settings = {"timesteps": options.timesteps}
    base, more = (
        images.subset(range(len(images) - 10)),
        images.subset(range(len(images) - 10, len(images))),
    )

    def make(out: Path) -> dict[str, Callable[[], Any]]:
        def trace() -> None:
            checksum._intact.clear()  # as a new process
            cl.open_index(out).trace(query)

        return {
            "index": lambda: cl.index(model, base, out=out, **settings),
            "first trace, which writes factors": trace,
            "next trace": trace,
            "add 10 images": lambda: cl.open_index(out).add(more),
        }

    return make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--timesteps", type=int, default=2)
    parser.add_argument("--pixels", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    make, watch = steps(options), Stopwatch()
    wall, cpu = defaultdict(list), defaultdict(list)
    own = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-1, options.rounds):
            # Every second round begins with the other kind.
            for has_checks in (True, False) if number % 2 else (False, True):
                out = Path(folder) / f"{number}-{has_checks}"
                with with_stopwatch(watch) if has_checks else without_checks():
                    for name, work in make(out).items():
                        watch.seconds = 0.0
                        start = time.perf_counter(), time.process_time()
                        work()
                        if number < 0:  # imports, first calls
                            continue
                        wall[name, has_checks].append(time.perf_counter() - start[0])
                        cpu[name, has_checks].append(time.process_time() - start[1])
                        own[name, has_checks].append(watch.seconds)
    print("| Work | with, s | without, s | with, s of CPU | without | checks, ms | share |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for name in make(Path()):
        numbers = [statistics.median(x[name, on]) for x in (wall, cpu) for on in (True, False)]
        inside = statistics.median(own[name, True])
        cells = [f"{number:.2f}" for number in numbers]
        share = f"{inside / numbers[0]:.1%}"
        print(f"| {name} | {' | '.join(cells)} | {1000 * inside:.0f} | {share} |")


if __name__ == "__main__":
    main()
