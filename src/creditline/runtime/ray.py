"""The executor of a Ray cluster: workers on this machine, or on all machines of a cluster.

Each worker is an actor that reads the shared object once and runs one task at a time. A worker
that is killed is replaced, and its task is done again. The function, the shared object and the
results are pickled as the process executor pickles them: Ray's own copies would be read-only.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from creditline.errors import CreditlineError, SettingsError
from creditline.runtime.devices import DeviceMap
from creditline.runtime.executor import Result, Task
from creditline.runtime.worker import load_job, pack_error, pack_job, unpack_error

ATTEMPTS = 3
"""Workers that one task may cost before it is given up."""
OBJECT_STORE_BYTES = 128 << 20
CONNECT_SECONDS = 5.0
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""While a cluster is started: no telemetry, and workers without a GPU keep their environment."""


class RayExecutor:
    """Runs tasks in the workers of a Ray cluster, one CPU thread each.

    Without an address it uses the cluster that this process has joined (`ray.init`), or starts one
    on this machine for the time of a job. It shuts down only what it started.

    Args:
        devices: one entry for each worker, all `"cpu"` or all `"cuda"`: Ray gives each worker a
            GPU of its own.
        address: of a running cluster. Its workers need Creditline and the same files.

    Raises:
        SettingsError: if Ray is not installed, or devices are named by number.
    """

    name = "ray"

    def __init__(self, devices: DeviceMap, address: str | None = None) -> None:
        if find_spec("ray") is None:
            raise SettingsError(
                "The executor 'ray' needs Ray, which is not installed. "
                "Install it with: pip install 'creditline[ray]'."
            )
        if not devices.is_uniform or devices.first not in ("cpu", "cuda"):
            raise SettingsError(
                f"Ray assigns GPUs to workers itself; got {', '.join(devices.devices)}. Use "
                "device='cuda' with a number of workers (--device cuda --workers 2), or 'cpu'."
            )
        self.devices, self.address = devices, address

    def map(
        self, function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield `(task, function(shared, task))` in order of completion; see `Executor.map`.

        Raises:
            CreditlineError: if the cluster cannot be reached, or a task killed several workers.
        """
        workers = min(self.devices.workers, len(tasks))
        if workers == 0:
            return
        job = pack_job(function, shared)
        with _own_environment(), _connect(self.address, workers, len(job)) as ray:
            pool = _Pool(ray, job, workers, self.devices.first, tasks)
            try:
                yield from pool.results()
            finally:
                pool.close()


class _Worker:
    """The actor: reads a job once, then runs its tasks."""

    def __init__(self, job: bytes) -> None:
        self.function, self.shared = load_job(job, None)

    def start(self) -> None:
        """Return once the worker is ready."""

    def run(self, task: Any) -> tuple[bool, bytes]:
        """Return whether the task succeeded, and its result or its error."""
        import cloudpickle

        try:
            return True, cloudpickle.dumps(self.function(self.shared, task))
        except Exception as error:  # noqa: BLE001 (raised again where the results are read)
            return False, pack_error(error)


class _Pool:
    """The workers of one job, and what each of them is doing."""

    def __init__(
        self, ray: Any, job: bytes, workers: int, device: str, tasks: Sequence[Any]
    ) -> None:
        self.ray, self.tasks = ray, tasks
        self.job = ray.put(job)
        options = {"num_cpus": 1, "num_gpus": 1 if device == "cuda" else 0, "max_restarts": 0}
        self.actor = ray.remote(_Worker).options(**options)
        self.queue = deque(range(len(tasks)))
        self.failures = [0] * len(tasks)
        self.failed_starts = 0
        self.running: dict[Any, tuple[Any, int | None]] = {}
        """By the reference of a result: a worker and its task; None while it starts."""
        self.idle: list[Any] = []
        for _ in range(workers):
            self._start_worker()

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield tasks and results until all tasks are done."""
        left = len(self.tasks)
        while left:
            (reference,), _ = self.ray.wait(list(self.running), num_returns=1)
            worker, i = self.running.pop(reference)
            try:
                answer = self.ray.get(reference)
            except self.ray.exceptions.RayTaskError:
                raise
            except self.ray.exceptions.RayError as error:
                self._replace(worker, i, error)
                continue
            self._give_task(worker)  # before the caller takes its time with the result
            if i is not None:
                is_done, payload = answer
                if not is_done:
                    raise unpack_error(payload)
                left -= 1
                yield self.tasks[i], pickle.loads(payload)

    def close(self) -> None:
        """End all workers."""
        for worker in [*self.idle, *(worker for worker, _ in self.running.values())]:
            self.ray.kill(worker)

    def _start_worker(self) -> None:
        worker = self.actor.remote(self.job)
        self.running[worker.start.remote()] = worker, None

    def _give_task(self, worker: Any) -> None:
        if self.queue:
            i = self.queue.popleft()
            self.running[worker.run.remote(self.tasks[i])] = worker, i
        else:
            self.idle.append(worker)

    def _replace(self, worker: Any, i: int | None, error: Exception) -> None:
        """Start another worker for one that was killed, and do its task again."""
        self.ray.kill(worker)  # it may live on beyond a broken connection
        if i is None:
            self.failed_starts += 1
            failures, what = self.failed_starts, "Workers of Ray cannot start"
        else:
            self.failures[i] += 1
            failures, what = self.failures[i], "A task killed its worker again and again"
            self.queue.appendleft(i)
        if failures >= ATTEMPTS:
            raise CreditlineError(
                f"{what}, most likely for lack of memory: {error}. Finished tasks are safe. Run "
                "the same again with fewer workers."
            ) from error
        self._start_worker()


@contextmanager
def _connect(address: str | None, workers: int, job_bytes: int) -> Iterator[Any]:
    """Use the cluster of this process, join one, or start one; leave what was joined or started."""
    import ray

    if ray.is_initialized():
        joined = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", joined):
            raise SettingsError(
                f"This process has joined the Ray cluster at {joined} and was asked for {address}. "
                "Call ray.shutdown() first, or leave the address out."
            )
        yield ray
        return
    settings: dict[str, Any] = {"address": address}
    if address is None:
        settings = {
            "address": "local",
            "num_cpus": workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES + 2 * job_bytes,
        }
    else:
        _require_reachable(address)
    try:
        with _process_settings():
            ray.init(**settings, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        where = "cannot be started" if address is None else f"at {address} cannot be joined"
        raise CreditlineError(
            f"The Ray cluster {where}: {error}. Start one with `ray start --head` and give its "
            "address (--ray-address HOST:PORT), or use --executor processes."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _require_reachable(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would retry for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return  # such as "auto"
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise CreditlineError(
            f"No Ray cluster answers at {address} ({error}). Start one with `ray start --head`, or "
            "leave --ray-address out: one is then started for the time of the command."
        ) from error


@contextmanager
def _own_environment() -> Iterator[None]:
    """Remove in the end what Ray adds to the environment when it is imported and started."""
    before = set(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - before:
            if name.startswith("RAY_") or name == "PYTHONBREAKPOINT":
                del os.environ[name]


@contextmanager
def _process_settings() -> Iterator[None]:
    """Set Ray's environment while it starts, and restore it and the signal handler it replaces."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if is_main else None
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)
