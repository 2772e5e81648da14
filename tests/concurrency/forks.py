"""Processes that are forked before this one does anything with threads."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SECONDS = 120
"""A process may not take longer."""


def together(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run actions at once, each in a process of its own.

    They begin at the same time. The caller has imported what they need, and used none of it: Lance
    and torch start threads, which a fork does not have.

    Returns:
        What each returned, as JSON; its error is raised here.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.time() + 0.05
        paths = [Path(folder) / str(i) for i in range(len(actions))]
        pids = [_fork(action, path, start) for action, path in zip(actions, paths, strict=True)]
        try:
            _wait(pids)
        finally:
            for pid in pids:
                _kill(pid)
        results = [json.loads(path.read_text("utf-8")) for path in paths]
    for kind, value in results:
        if kind == "error":
            raise AssertionError(value)
    return [value for _, value in results]


def _fork(action: Callable[[], Any], path: Path, start: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        time.sleep(max(0.0, start - time.time()))
        try:
            result = "value", action()
        except BaseException:  # noqa: BLE001 - reported by the caller
            result = "error", traceback.format_exc()
        path.write_text(json.dumps(result), "utf-8")
    finally:
        os._exit(0)


def _wait(pids: Sequence[int]) -> None:
    end, running = time.time() + SECONDS, set(pids)
    while running:
        for pid in list(running):
            if os.waitpid(pid, os.WNOHANG)[0]:
                running.discard(pid)
        if time.time() > end:
            raise TimeoutError(f"{len(running)} processes take more than {SECONDS} seconds")
        time.sleep(0.002)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
