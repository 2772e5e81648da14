"""Progress with time left, on a terminal as a bar and in a log file as an occasional line."""

from __future__ import annotations

import os
import sys
from types import TracebackType

from tqdm import tqdm


class Progress:
    """A bar over `total` units of work; `with Progress("index", 5800, "image") as bar`.

    Environment variable `CREDITLINE_PROGRESS=0` silences every bar.
    """

    def __init__(self, label: str, total: int, unit: str = "step", done: int = 0) -> None:
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=label,
            unit=unit,
            unit_scale=False,
            mininterval=0.1 if terminal else 15.0,
            maxinterval=1.0 if terminal else 60.0,
            dynamic_ncols=terminal,
            ascii=not terminal,
            disable=os.environ.get("CREDITLINE_PROGRESS") == "0",
        )

    def advance(self, amount: int = 1, **notes: object) -> None:
        """Count `amount` units as done and show `notes` (such as the loss) behind the bar."""
        if notes:
            self._bar.set_postfix({k: str(v) for k, v in notes.items()}, refresh=False)
        self._bar.update(amount)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()
