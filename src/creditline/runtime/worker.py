"""What every worker process does: settings for its lifetime, the shared object, failed tasks."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any

from creditline.errors import CreditlineError
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.devices import place

_settings = ExitStack()
"""Settings of this worker, for as long as it lives."""


@cache
def configure_worker() -> None:
    """Use one CPU thread and keep freed memory, until the process ends."""
    import torch

    torch.set_num_threads(1)
    _settings.enter_context(keep_freed_memory())


def pack_job(function: Callable[..., Any], shared: Any) -> bytes:
    """Serialize a job; functions and classes of the user's own scripts included."""
    import cloudpickle

    return cloudpickle.dumps((function, shared))


def unpack_job(payload: bytes, device: str | None) -> tuple[Callable[..., Any], Any]:
    """Read what `pack_job` wrote and move the shared object to this worker's device."""
    function, shared = pickle.loads(payload)
    return function, place(shared, device)


class WorkerTraceback(Exception):
    """The traceback of an error in a worker, as the cause of the same error here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def pack_error(error: Exception) -> bytes:
    """Serialize an error with the text of its traceback."""
    import cloudpickle

    text = "".join(traceback.format_exception(error))
    try:
        return cloudpickle.dumps((error, text))
    except Exception:  # noqa: BLE001 (an error may hold anything)
        return cloudpickle.dumps((CreditlineError(repr(error)), text))


def unpack_error(payload: bytes) -> Exception:
    """Read what `pack_error` wrote; the error's cause is a `WorkerTraceback`."""
    error, text = pickle.loads(payload)
    error.__cause__ = WorkerTraceback(text)
    return error
