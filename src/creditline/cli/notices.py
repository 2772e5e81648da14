"""Notices of the library, on stderr as lines of the command."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from creditline.cli.console import echo
from creditline.notice import Notice


@contextmanager
def shown_notices() -> Iterator[None]:
    """Print notices as messages of the command, without the place in the code."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, Notice):
                echo(f"creditline: {message}", err=True)
            else:
                others(message, category, *place)

        warnings.showwarning = show  # type: ignore[assignment]
        yield
