"""What every executor has to do, as functions of a runtime; one test file per executor calls them.

Functions of tasks are defined at module level, so that workers import them by name.
"""

from __future__ import annotations

import time
import traceback
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from creditline.errors import CreditlineError
from creditline.runtime import Runtime


def add_shift(shared, task):
    return shared["shift"] + task


def fail_on_two(shared, task):
    if task == 2:
        raise CreditlineError(f"task {task} of {shared} failed")
    return task


def count_threads(shared, task):
    import torch

    return torch.get_num_threads()


def wait_for_others(folder, task):
    """Task 0 ends after all others."""
    (folder / str(task)).touch()
    end = time.monotonic() + 120
    while task == 0 and len(list(folder.iterdir())) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    return task


def draw_noise(shared, task):
    return np.random.default_rng(task).standard_normal(shared)


def write_file(folder, task):
    """One file per task, as an index has one shard per task; fails while a `broken` file exists."""
    if task == 3 and (folder / "broken").exists():
        raise CreditlineError("broken")
    (folder / str(task)).write_text(f"result {task}")
    return task


@dataclass(frozen=True)
class PlacedJob:
    """A shared object that records the device it was moved to."""

    device: str = "where the caller loaded it"

    def to_device(self, device):
        return replace(self, device=device)


def report_device(shared, task):
    time.sleep(0.2)  # long enough that one worker cannot do all tasks
    return shared.device


def check_results(runtime: Runtime) -> None:
    """Every task has its own result, whatever the order; large results are equal to the bit."""
    results = list(runtime.map(add_shift, {"shift": 100}, range(12)))
    assert sorted(results) == [(task, task + 100) for task in range(12)]
    for task, values in runtime.map(draw_noise, 1000, [3, 1]):
        assert np.array_equal(values, draw_noise(1000, task))
        values += 1  # a caller may change what it was given


def check_no_tasks(runtime: Runtime) -> None:
    """A job without tasks is finished."""
    assert list(runtime.map(add_shift, {"shift": 1}, [])) == []


def check_next_job(runtime: Runtime) -> None:
    """A second job does not see the shared object of the first."""
    assert dict(runtime.map(add_shift, {"shift": 1}, [1, 2])) == {1: 2, 2: 3}
    assert dict(runtime.map(add_shift, {"shift": 50}, [1, 2])) == {1: 51, 2: 52}


def check_closures(runtime: Runtime) -> None:
    """Functions defined inside others reach the workers."""
    offset = 7
    results = runtime.map(lambda shared, task: shared(task) + offset, lambda x: 2 * x, [1, 2])
    assert sorted(results) == [(1, 9), (2, 11)]


def check_error(runtime: Runtime) -> None:
    """An error keeps its class and message, and its traceback names the function that failed."""
    with pytest.raises(CreditlineError, match=r"^task 2 of job failed$") as caught:
        list(runtime.map(fail_on_two, "job", [0, 1, 2, 3]))
    assert "in fail_on_two" in "".join(traceback.format_exception(caught.value))


def check_resumes(runtime: Runtime, folder) -> None:
    """What was finished before an error stays; a second call does the rest."""
    (folder / "broken").touch()
    with pytest.raises(CreditlineError, match="broken"):
        list(runtime.map(write_file, folder, range(4)))
    (folder / "broken").unlink()
    left = [task for task in range(4) if not (folder / str(task)).exists()]
    assert 3 in left
    list(runtime.map(write_file, folder, left))
    assert all((folder / str(task)).read_text() == f"result {task}" for task in range(4))


def check_folder(runtime: Runtime, folder) -> None:
    """Relative paths mean the same as where the caller is, also in workers of an earlier job."""
    for name in ("first", "second"):
        (folder / name).mkdir()
        with chdir(folder / name):
            list(runtime.map(write_file, Path(), [0, 1]))
        assert (folder / name / "1").read_text() == "result 1"


def check_stops_early(runtime: Runtime) -> None:
    """A caller may stop asking; the next job works."""
    results = runtime.map(add_shift, {"shift": 1}, range(20))
    next(results)
    results.close()
    check_results(runtime)


def check_streams(runtime: Runtime, folder) -> None:
    """With two workers a finished result does not wait for a slow one."""
    assert [task for task, _ in runtime.map(wait_for_others, folder, [0, 1, 2])][-1] == 0


def check_threads(runtime: Runtime, folder) -> None:
    """Workers use one CPU thread."""
    assert {number for _, number in runtime.map(count_threads, None, [0, 1, 2])} == {1}


CONTRACT = (
    check_results,
    check_no_tasks,
    check_next_job,
    check_closures,
    check_error,
    check_stops_early,
)
"""Of every executor."""

OF_WORKERS = (check_streams, check_threads, check_folder)
"""Of executors with two workers."""
