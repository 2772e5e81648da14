"""What every worker process does: settings for its lifetime, the shared object, failed tasks."""

from __future__ import annotations

import io
import os
import pickle
import sys
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


def pack_job(function: Callable[..., Any], shared: Any) -> bytes:
    """Serialize a job and the folder it is started in.

    Functions and classes of the user's own scripts are included.
    """
    import cloudpickle

    stream = io.BytesIO()
    pickle.dump(os.getcwd(), stream)
    cloudpickle.dump((function, shared), stream)
    return stream.getvalue()


def load_job(payload: bytes, device: str | None) -> tuple[Callable[..., Any], Any]:
    """Read what `pack_job` wrote in a worker process, which then has one CPU thread.

    Relative paths mean the same as where the job was packed, if this machine has that folder.

    Args:
        payload: the job.
        device: where the shared object is moved; None leaves it where it was.
    """
    _configure_process()
    stream = io.BytesIO(payload)
    folder = pickle.load(stream)
    if os.path.isdir(folder):  # first: classes may be found by it
        os.chdir(folder)
    function, shared = pickle.load(stream)
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
    return function, place(shared, device)


@cache
def _configure_process() -> None:
    """Use one CPU thread, also in a torch that is imported later, and keep freed memory."""
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    _settings.enter_context(keep_freed_memory())


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
