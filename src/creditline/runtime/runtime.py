"""Runtime: where work runs, on how many workers, and who hears of its progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from creditline.errors import SettingsError
from creditline.runtime.devices import DeviceMap
from creditline.runtime.executor import Executor, Result, Task, create_executor
from creditline.runtime.progress import ProgressEvent, ProgressSink, ProgressTask, default_sink
from creditline.runtime.threads import cpu_threads
from creditline.settings import require


@dataclass(frozen=True)
class Runtime:
    """Where work runs: executor, workers and their devices, threads, and a progress sink.

    No result depends on it but for the device: features, scores, weights and images are bitwise
    equal for any executor and any number of workers.

    Attributes:
        workers: number of workers; one for each device by default.
        device: `"cpu"`, `"cuda:0"`, or one name after another, shared out among the workers:
            `"cuda:0,cuda:1"`. Models that are given as paths are loaded on the first.
        executor: `"local"` (this process), `"processes"` (on this machine), `"ray"`, the name of
            an entry point of the group `creditline.executors`, or an executor. By default
            `"local"` for one worker and `"processes"` for several.
        ray_address: of a Ray cluster to join, for `executor="ray"`; by default one is started on
            this machine. The workers must see the same files.
        threads: CPU threads of work in this process, by default as many as torch chooses. Tasks
            always use one, so that their results do not depend on it.
        sink: receives progress. By default a bar on the terminal, or nothing where the
            environment has `CREDITLINE_PROGRESS=0`.

    Raises:
        SettingsError: if a value is impossible, or two contradict each other.
    """

    workers: int | None = None
    device: str = "cpu"
    executor: str | Executor | None = None
    ray_address: str | None = None
    threads: int | None = None
    sink: ProgressSink = field(default_factory=default_sink)

    def __post_init__(self) -> None:
        devices = self.devices
        require(
            self.threads is None or self.threads >= 1,
            "threads must be at least 1",
            self.threads,
            "Try 1.",
        )
        if self.ray_address is not None and self.executor != "ray":
            raise SettingsError(
                f"ray_address is for executor='ray'; the executor is {self.executor!r}. Leave the "
                "address out, or use executor='ray' (--executor ray)."
            )
        if isinstance(self.executor, str):  # its name and settings are checked before any work
            create_executor(self.executor, devices, self.ray_address)

    @property
    def devices(self) -> DeviceMap:
        """The device of each worker."""
        return DeviceMap.parse(self.device, self.workers)

    @property
    def main_device(self) -> str:
        """The device of the first worker and of work in this process."""
        return self.devices.first

    def map(
        self, function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Run the tasks of a job and yield each with its result; see `Executor.map`."""
        return self._executor().map(function, shared, tasks)

    def progress(self, label: str, total: int, unit: str = "step", done: int = 0) -> ProgressTask:
        """Open a piece of work on the progress sink, as a context manager.

        Args:
            label: what is done, such as `"index"`.
            total: units of work, finished ones included.
            unit: name of one unit.
            done: units that a former run finished.
        """
        return ProgressTask(self.sink, ProgressEvent(label, total, unit, done))

    def use_threads(self) -> AbstractContextManager[None]:
        """Use this runtime's number of CPU threads in this process, as a context manager."""
        return cpu_threads(self.threads)

    def _executor(self) -> Executor:
        if self.executor is None:
            name = "local" if self.devices.workers == 1 else "processes"
            return create_executor(name, self.devices)
        if isinstance(self.executor, str):
            return create_executor(self.executor, self.devices, self.ray_address)
        return self.executor
