"""The protocol that every executor follows, and the registry of executors.

A job hands over a function, one shared object (a model and images, say) and many small tasks.
Tasks are independent and idempotent: running one twice leaves the same result. The caller commits
each result when it arrives, so an interrupted job continues with the tasks that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, TypeVar

from creditline.errors import unknown
from creditline.runtime.devices import DeviceMap

Task = TypeVar("Task")
Result = TypeVar("Result")

GROUP = "creditline.executors"
"""Entry points of executors in other packages."""

BUILT_IN = {
    "local": "creditline.runtime.local:LocalExecutor",
    "processes": "creditline.runtime.processes:ProcessExecutor",
    "ray": "creditline.runtime.ray:RayExecutor",
}


class Executor(Protocol):
    """Runs the tasks of a job.

    A registered executor is a class with the constructor `(devices, address=None)`: the device of
    each worker, and where a cluster is.
    """

    name: str

    def map(
        self, function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield `(task, function(shared, task))`, each as soon as it is finished.

        Args:
            function: a function of the shared object and one task.
            shared: any picklable object; every worker receives it once. Workers on different
                devices move it with `creditline.runtime.devices.place`.
            tasks: independent, idempotent pieces of work, in any order of completion.

        Raises:
            Exception: the error of the first task that fails, of its own class.
            CreditlineError: if workers were killed and the executor does not replace them.
        """
        ...


def executor_names() -> list[str]:
    """List the names of all registered executors."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


def create_executor(name: str, devices: DeviceMap, address: str | None = None) -> Executor:
    """Create an executor by name.

    Args:
        name: built in, or an entry point of the group `creditline.executors`.
        devices: the device of each worker.
        address: of a cluster, for executors that join one.

    Raises:
        SettingsError: if the name is unknown, or the executor refuses its settings.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return getattr(import_module(module), attribute)(devices, address)
    for point in entry_points(group=GROUP, name=name):
        return point.load()(devices, address)
    raise unknown("executor", name, executor_names())
