"""The local and the process executor: the contract of all executors, and what is their own."""

from __future__ import annotations

import os
import select
import signal
import time

import pytest
from tests.runtime import contract
from tests.runtime.contract import CONTRACT, OF_WORKERS, PlacedJob, add_shift, report_device

import creditline as cl
from creditline.diffusion.config import GenerateConfig
from creditline.errors import CreditlineError, SettingsError
from creditline.runtime import Runtime, executor, processes

PROCESSES = pytest.mark.slow  # starts processes
RUNTIMES = {
    "local": Runtime(),
    "processes": Runtime(workers=2),
    "one process": Runtime(workers=1, executor="processes"),
}


def process_id(shared, task):
    return os.getpid()


def kill_worker(shared, task):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    "name", ["local", "one process", pytest.param("processes", marks=PROCESSES)]
)
@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
def test_it_follows_the_contract(name, check):
    check(RUNTIMES[name])


@pytest.mark.parametrize(
    "name", ["local", "one process", pytest.param("processes", marks=PROCESSES)]
)
def test_finished_tasks_survive_an_error(name, tmp_path):
    contract.check_resumes(RUNTIMES[name], tmp_path)


@PROCESSES
@pytest.mark.parametrize("check", OF_WORKERS, ids=lambda check: check.__name__)
def test_processes_follow_the_contract_of_workers(check, tmp_path):
    check(RUNTIMES["processes"], tmp_path)


def test_in_this_process_results_come_one_by_one_in_order():
    done = []

    def append(shared, task):
        done.append(task)
        return task

    for task, result in Runtime().map(append, None, [3, 1, 2]):
        assert task == result == done[-1]  # the next has not begun
    assert done == [3, 1, 2]


def test_one_task_needs_no_processes():
    assert list(Runtime(workers=4).map(process_id, None, [5])) == [(5, os.getpid())]


@PROCESSES
def test_several_tasks_run_in_other_processes():
    assert os.getpid() not in {result for _, result in Runtime(workers=2).map(process_id, 0, "ab")}


@PROCESSES
def test_a_killed_worker_is_a_clear_error():
    with pytest.raises(CreditlineError, match="most likely for lack of memory"):
        list(Runtime(workers=2).map(kill_worker, None, range(4)))


@PROCESSES
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_worker_ends_with_the_command_that_started_it():
    reader, writer = os.pipe()
    command = os.fork()
    if command == 0:
        if os.fork() == 0:  # the worker
            processes._end_with.__wrapped__(os.getppid())
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


@PROCESSES
def test_each_process_moves_the_shared_object_to_its_own_device():
    results = Runtime(device="cuda:0,cuda:1").map(report_device, PlacedJob(), range(8))
    assert {device for _, device in results} == {"cuda:0", "cuda:1"}


@PROCESSES
@pytest.mark.parametrize("workers", [1, 2])
def test_on_one_device_the_shared_object_stays_where_it_is(workers):
    results = Runtime(workers=workers, device="cuda:0").map(report_device, PlacedJob(), [0, 1])
    assert {device for _, device in results} == {PlacedJob().device}


class DoublingExecutor:
    """An executor of another package: runs every task twice."""

    name = "doubling"

    def __init__(self, devices, address=None):
        self.devices = devices

    def map(self, function, shared, tasks):
        for task in tasks:
            function(shared, task)
            yield task, function(shared, task)


class EntryPoint:
    name = "doubling"

    def load(self):
        return DoublingExecutor


def test_other_packages_register_executors_by_entry_point(monkeypatch):
    def entry_points(group, name=None):
        assert group == "creditline.executors"
        return [EntryPoint()] if name in (None, "doubling") else []

    monkeypatch.setattr(executor, "entry_points", entry_points)
    assert "doubling" in executor.executor_names()
    contract.check_results(Runtime(executor="doubling"))
    with pytest.raises(SettingsError, match="Did you mean 'doubling'"):
        Runtime(executor="doublin")


def test_an_instance_is_an_executor_too():
    runtime = Runtime(executor=DoublingExecutor(None))
    assert dict(runtime.map(add_shift, {"shift": 1}, [1])) == {1: 2}


@PROCESSES
@pytest.mark.long
def test_an_index_of_several_devices_is_that_of_one(tiny_folder, tiny_images, tmp_path):
    """The devices are two names of the CPU, so that models really move."""

    def build(name, runtime):
        settings = {"method": "trak", "timesteps": 2, "dim": 32, "shard_rows": 3}
        return cl.index(
            str(tiny_folder), tiny_images, out=tmp_path / name, runtime=runtime, **settings
        )

    runtime = Runtime(device="cpu,cpu:0")
    assert runtime.devices.workers == 2
    assert build("two", runtime).digest() == build("one", Runtime()).digest()


@PROCESSES
def test_generated_images_do_not_depend_on_the_number_of_workers(tiny_model, tmp_path):
    config = GenerateConfig(steps=2, trajectory=True)
    runtimes = {"one": Runtime(threads=2), "two": Runtime(device="cpu,cpu:0")}
    for name, runtime in runtimes.items():
        cl.generate(tiny_model, 6, tmp_path / name, config, batch_size=2, runtime=runtime)
    for path in [*tmp_path.glob("one/*.png"), *tmp_path.glob("one/trajectories/*")]:
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert path.read_bytes() == other.read_bytes()
