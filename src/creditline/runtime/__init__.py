"""Where and how work runs: executors, devices, threads, exact kernels, progress."""

from creditline.runtime.devices import DeviceMap
from creditline.runtime.executor import Executor
from creditline.runtime.progress import (
    CallbackSink,
    ProgressEvent,
    ProgressSink,
    ProgressTask,
    SilentSink,
    TerminalSink,
)
from creditline.runtime.runtime import Runtime

__all__ = [
    "CallbackSink",
    "DeviceMap",
    "Executor",
    "ProgressEvent",
    "ProgressSink",
    "ProgressTask",
    "Runtime",
    "SilentSink",
    "TerminalSink",
]
