"""Overhead of each executor: trivial tasks, with small and with large shared objects.

    python -m tools.bench_executors --tasks 200 --workers 2

Prints a table in Markdown: seconds until the first result (what a job costs), then milliseconds
per task on the clock, and CPU milliseconds per task of this process and all its children.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from creditline.runtime import Runtime

MEGABYTE = 1 << 20


def add_one(_: Any, task: int) -> int:
    """The trivial task."""
    return task + 1


def main() -> None:
    """Print one row for each executor and size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[0, 100])
    args = parser.parse_args()
    print("| executor | shared | job, s | wall per task, ms | CPU per task, ms |")
    print("|---|---|---|---|---|")
    for megabytes in args.megabytes:
        shared = np.zeros(megabytes * MEGABYTE, np.uint8)
        for name, runtime in _runtimes(args.workers).items():
            with _cluster(args.workers) if name == "ray, joined" else nullcontext():
                start, wall, cpu = measure(runtime, shared, args.tasks)
            print(f"| {name} | {megabytes} MB | {start:.2f} | {wall:.2f} | {cpu:.2f} |", flush=True)


def measure(runtime: Runtime, shared: Any, tasks: int) -> tuple[float, float, float]:
    """Time one job.

    Returns:
        Seconds until the first result; then wall and CPU milliseconds per further task.
    """
    began = time.monotonic()
    results: Any = runtime.map(add_one, shared, range(tasks))
    next(results)
    first, cpu = time.monotonic(), _cpu_seconds()
    for _ in range(tasks - 1):
        next(results)
    last, last_cpu = time.monotonic(), _cpu_seconds()  # before the workers end
    results.close()
    scale = 1000 / (tasks - 1)
    return first - began, (last - first) * scale, (last_cpu - cpu) * scale


def _runtimes(workers: int) -> dict[str, Runtime]:
    return {
        "local": Runtime(),
        "processes": Runtime(workers=workers, executor="processes"),
        "ray": Runtime(workers=workers, executor="ray"),
        "ray, joined": Runtime(workers=workers, executor="ray"),
    }


@contextmanager
def _cluster(workers: int) -> Iterator[None]:
    """A Ray cluster that this process has joined before the job."""
    import ray

    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _cpu_seconds() -> float:
    """CPU time so far of this process and of its living descendants."""
    parents = {}
    ticks = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue
        process = int(stat.parent.name)
        parents[process], ticks[process] = int(fields[1]), int(fields[11]) + int(fields[12])
    return sum(
        spent for process, spent in ticks.items() if _descends(process, os.getpid(), parents)
    ) / os.sysconf("SC_CLK_TCK")


def _descends(process: int, ancestor: int, parents: dict[int, int]) -> bool:
    while process in parents:
        if process == ancestor:
            return True
        process = parents[process]
    return False


if __name__ == "__main__":
    main()
