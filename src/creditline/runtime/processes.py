"""The executor of worker processes on this machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from creditline.errors import CreditlineError
from creditline.leftovers import scratch_folder
from creditline.runtime.devices import DeviceMap
from creditline.runtime.executor import Result, Task
from creditline.runtime.worker import load_job, pack_job

WATCH_SECONDS = 0.5
JOB = "job.pkl"


class ProcessExecutor:
    """Runs tasks in processes of one CPU thread each.

    A job of one task, or of one worker, runs in this process.

    Args:
        devices: the device of each process.
        address: not used.
    """

    name = "processes"

    def __init__(self, devices: DeviceMap, address: str | None = None) -> None:
        self.devices = devices

    def map(
        self, function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield `(task, function(shared, task))` in order of completion; see `Executor.map`.

        Raises:
            CreditlineError: if a worker was killed.
        """
        workers = min(self.devices.workers, len(tasks))
        if workers <= 1:
            for task in tasks:
                yield task, function(shared, task)
            return
        from joblib import Parallel, delayed, parallel_config

        with scratch_folder() as folder:
            (Path(folder) / JOB).write_bytes(pack_job(function, shared))
            with parallel_config(backend="loky", inner_max_num_threads=1):
                pool = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
                calls = (
                    delayed(_run_task)(folder, self.devices, i, task)
                    for i, task in enumerate(tasks)
                )
                try:
                    for i, result in pool(calls):
                        yield tasks[i], result
                except BrokenExecutor as error:
                    raise CreditlineError(
                        "A worker process was killed, most likely for lack of memory. Finished "
                        "tasks are safe. Run the same again with fewer workers."
                    ) from error


def _run_task(folder: str, devices: DeviceMap, i: int, task: Any) -> tuple[int, Any]:
    _end_with(os.getppid())
    function, shared = _load_job(folder, devices)
    return i, function(shared, task)


@lru_cache(maxsize=1)
def _load_job(folder: str, devices: DeviceMap) -> tuple[Callable[..., Any], Any]:
    device = None if devices.is_uniform else devices.target(_claim_number(Path(folder)))
    return load_job((Path(folder) / JOB).read_bytes(), device)


def _claim_number(folder: Path) -> int:
    """Take the first number that no other worker of this job has."""
    number = 0
    while True:
        try:
            (folder / f"worker-{number}").touch(exist_ok=False)
        except FileExistsError:
            number += 1
        else:
            return number


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """End this worker, a child of `parent`, soon after that was killed.

    Otherwise it would go on writing to a folder that the continued command writes to as well. The
    next command removes the job, a model and images; see `scratch_folder`.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
