"""One executor for every long job: independent, idempotent tasks in this process or several.

A job hands over a function, one shared object (the model and images, say) and a list of small
tasks. Results come back as they finish, so the caller can commit each at once; a task that was
committed is never run again, which is what makes a job resumable.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from creditline.allocator import freed_memory_kept
from creditline.errors import CreditlineError
from creditline.settings import require

WATCH_SECONDS = 0.5

Task = TypeVar("Task")
Result = TypeVar("Result")


def run(
    function: Callable[[Any, Task], Result],
    shared: Any,
    tasks: Sequence[Task],
    workers: int = 1,
) -> Iterator[tuple[Task, Result]]:
    """Yield `(task, function(shared, task))` in order of completion.

    Args:
        function: a module-level function, so that other processes can import it.
        shared: anything picklable; sent to each process once.
        tasks: independent pieces of work.
        workers: processes. 1 runs in this process with its own thread settings; more run as
            separate processes with one thread each.

    Raises:
        SettingsError: if `workers` is below 1.
        CreditlineError: if a worker was killed.
    """
    require(workers >= 1, "The number of workers must be at least 1", workers, "Use 1 or more.")
    if workers == 1 or len(tasks) <= 1:
        for task in tasks:
            yield task, function(shared, task)
        return
    yield from _run_processes(function, shared, tasks, min(workers, len(tasks)))


def _run_processes(
    function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task], workers: int
) -> Iterator[tuple[Task, Result]]:
    import cloudpickle
    from joblib import Parallel, delayed, parallel_config

    with tempfile.TemporaryDirectory(prefix="creditline-") as folder:
        path = Path(folder) / "shared.pkl"
        path.write_bytes(cloudpickle.dumps((function, shared)))
        with parallel_config(backend="loky", inner_max_num_threads=1):
            pool = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
            calls = (delayed(_call)(str(path), i, task) for i, task in enumerate(tasks))
            try:
                for i, result in pool(calls):
                    yield tasks[i], result
            except BrokenExecutor as error:
                raise CreditlineError(
                    "A worker process was killed, most likely for want of memory. What is finished "
                    "is safe; run the same again with fewer workers."
                ) from error


@contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread, so that a feature has the same bits whoever computes it.

    Sums are split among threads, so their number changes rounding; parallel work is done by
    processes instead.
    """
    import torch

    before = torch.get_num_threads()
    if before == 1:  # to set it again would take a millisecond
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


_kept = ExitStack()
"""Settings of a worker for as long as it lives."""


@lru_cache(maxsize=1)
def _load(path: str) -> tuple[Callable[..., Any], Any]:
    import torch

    torch.set_num_threads(1)
    _kept.enter_context(freed_memory_kept())
    return pickle.loads(Path(path).read_bytes())


def _call(path: str, i: int, task: Any) -> tuple[int, Any]:
    _end_with(os.getppid())
    function, shared = _load(path)
    return i, function(shared, task)


@lru_cache(maxsize=1)
def _end_with(parent: int) -> None:
    """End this worker, a child of `parent`, soon after that was killed.

    Left alone it would go on writing to a folder that the continued command writes to as well.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
