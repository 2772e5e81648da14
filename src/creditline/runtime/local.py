"""The executor that runs every task in this process, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from creditline.runtime.devices import DeviceMap
from creditline.runtime.executor import Result, Task
from creditline.settings import require


class LocalExecutor:
    """Runs tasks in this process, in order, each when its result is asked for.

    Raises:
        SettingsError: if there is more than one worker.
    """

    name = "local"

    def __init__(self, devices: DeviceMap, address: str | None = None) -> None:
        require(
            devices.workers == 1,
            "The local executor has one worker",
            devices.workers,
            "Use executor='processes' (--executor processes).",
        )

    def map(
        self, function: Callable[[Any, Task], Result], shared: Any, tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Yield `(task, function(shared, task))` in order; see `Executor.map`."""
        for task in tasks:
            yield task, function(shared, task)
