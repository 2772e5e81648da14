"""Tasks run here or in other processes, with one result each, as they finish."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from creditline import executor
from creditline.errors import CreditlineError, SettingsError
from creditline.executor import run


def shifted(shared, task):
    return shared["shift"] + task, os.getpid()


def slow_first(shared, task):
    time.sleep(1.0 if task == 0 else 0.0)
    return task


def failing(shared, task):
    if task == 2:
        raise ValueError(f"task {task} of {shared} failed")
    return task


def threads(shared, task):
    import torch

    return torch.get_num_threads()


def test_in_this_process_results_come_one_by_one_in_order():
    done = []

    def noting(shared, task):
        done.append(task)
        return task

    for task, result in run(noting, None, [3, 1, 2]):
        assert task == result == done[-1]  # the next has not begun
    assert done == [3, 1, 2]


@pytest.mark.parametrize("tasks", [[], [5]])
def test_few_tasks_need_no_processes(tasks):
    results = list(run(shifted, {"shift": 1}, tasks, workers=4))
    assert results == [(task, (task + 1, os.getpid())) for task in tasks]


def test_processes_give_each_task_its_own_result():
    results = list(run(shifted, {"shift": 100}, range(12), workers=2))
    assert sorted(task for task, _ in results) == list(range(12))
    assert all(value == task + 100 for task, (value, _) in results)
    assert os.getpid() not in {process for _, (_, process) in results}


def test_a_second_job_does_not_see_the_first_ones_object():
    first = dict(run(shifted, {"shift": 1}, [1, 2], workers=2))
    second = dict(run(shifted, {"shift": 50}, [1, 2], workers=2))
    assert first[1][0] == 2
    assert second[1][0] == 51


def test_what_is_finished_is_not_held_back():
    order = [task for task, _ in run(slow_first, None, [0, 1, 2], workers=2)]
    assert order[-1] == 0


def test_closures_and_lambdas_travel():
    offset = 7
    results = run(lambda shared, task: shared(task) + offset, lambda x: 2 * x, [1, 2], workers=2)
    assert sorted(results) == [(1, 9), (2, 11)]


def test_processes_use_one_thread():
    assert {n for _, n in run(threads, None, [0, 1, 2], workers=2)} == {1}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_keeps_its_kind_and_message(workers):
    with pytest.raises(ValueError, match="task 2 of job failed"):
        list(run(failing, "job", [0, 1, 2, 3], workers=workers))


@pytest.mark.parametrize("workers", [0, -1])
def test_the_number_of_workers_is_checked(workers):
    with pytest.raises(SettingsError, match=f"at least 1; got {workers}"):
        list(run(shifted, None, [1], workers=workers))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_worker_ends_with_the_command_that_started_it():
    reader, writer = os.pipe()
    command = os.fork()
    if command == 0:
        if os.fork() == 0:  # the worker
            executor._end_with.__wrapped__(os.getppid())
            os.write(writer, b"watching")
        time.sleep(60)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 8) == b"watching"
    os.kill(command, signal.SIGKILL)
    os.waitpid(command, 0)
    assert select.select([reader], [], [], 20)[0], "the worker lives on"
    assert os.read(reader, 1) == b""
    os.close(reader)


def dying(shared, task):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_is_a_clear_error():
    with pytest.raises(CreditlineError, match="most likely for want of memory"):
        list(run(dying, None, range(4), workers=2))
