"""Progress of long work: a sink shows it on a terminal, passes it to a callback, or drops it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Protocol, Self

from creditline.visible import visible

LOG_SECONDS = 15.0
"""Between two lines in a file that is no terminal."""


@dataclass(frozen=True)
class ProgressEvent:
    """How far a piece of work is.

    Attributes:
        label: what is done, such as `"index"`.
        total: units of work, those of a former run included.
        unit: name of one unit, such as `"image"`.
        done: finished units.
        notes: further facts, such as the loss.
        is_closed: whether nothing follows, because the work is finished or was given up.
    """

    label: str
    total: int
    unit: str = "step"
    done: int = 0
    notes: Mapping[str, str] | None = None
    is_closed: bool = False


class ProgressSink(Protocol):
    """Receives the progress of all work of a runtime."""

    def open(self, event: ProgressEvent) -> Callable[[ProgressEvent], None]:
        """Begin to show a piece of work.

        Args:
            event: where it stands at the beginning.

        Returns:
            A function that is called with every later event; the last one is closed.
        """
        ...


class ProgressTask:
    """One piece of work; a context manager that closes it.

    Args:
        sink: shows the progress.
        event: where the work stands at the beginning.
    """

    def __init__(self, sink: ProgressSink, event: ProgressEvent) -> None:
        self._event = event
        self._show = sink.open(event)

    def advance(self, amount: int = 1, **notes: object) -> None:
        """Count `amount` units as done, with notes such as the loss."""
        texts = {name: str(value) for name, value in notes.items()} or self._event.notes
        self._event = replace(self._event, done=self._event.done + amount, notes=texts)
        self._show(self._event)

    def close(self) -> None:
        """Show where the work ended; later calls do nothing."""
        if not self._event.is_closed:
            self._event = replace(self._event, is_closed=True)
            self._show(self._event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SilentSink:
    """Shows nothing."""

    def open(self, event: ProgressEvent) -> Callable[[ProgressEvent], None]:
        """See `ProgressSink.open`."""
        return lambda _: None


@dataclass(frozen=True)
class CallbackSink:
    """Passes every event to a function, for a web page or a notebook.

    Attributes:
        callback: receives a `ProgressEvent` at the beginning, after every advance and at the end.
    """

    callback: Callable[[ProgressEvent], None]

    def open(self, event: ProgressEvent) -> Callable[[ProgressEvent], None]:
        """See `ProgressSink.open`."""
        self.callback(event)
        return self.callback


class TerminalSink:
    """A bar with the time left; where standard error is no terminal, an occasional whole line."""

    def open(self, event: ProgressEvent) -> Callable[[ProgressEvent], None]:
        """See `ProgressSink.open`."""
        return _bar(event) if sys.stderr.isatty() else _log(event)


def default_sink() -> ProgressSink:
    """Return the terminal, or silence where the environment has `CREDITLINE_PROGRESS=0`."""
    return SilentSink() if os.environ.get("CREDITLINE_PROGRESS") == "0" else TerminalSink()


def _bar(event: ProgressEvent) -> Callable[[ProgressEvent], None]:
    from tqdm import tqdm

    bar: Any = tqdm(
        total=event.total, initial=event.done, desc=event.label, unit=event.unit, dynamic_ncols=True
    )

    def show(event: ProgressEvent) -> None:
        if event.notes:
            bar.set_postfix(event.notes, refresh=False)
        bar.update(event.done - bar.n)
        if event.is_closed:
            bar.close()

    return show


def _log(event: ProgressEvent) -> Callable[[ProgressEvent], None]:
    from tqdm import tqdm

    first, started = event.done, time.monotonic()
    last_line = started

    def show(event: ProgressEvent) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line < LOG_SECONDS and not event.is_closed:
            return
        last_line = now
        line = tqdm.format_meter(
            event.done,
            event.total,
            now - started,
            initial=first,
            ncols=0,
            prefix=event.label,
            unit=event.unit,
            postfix=", ".join(f"{name}={text}" for name, text in (event.notes or {}).items()),
        )
        print(visible(line), file=sys.stderr, flush=True)

    return show
