"""Ends of a process at each of its changes of the file system, simulated in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest


class Killed(BaseException):
    """The end of the process: whatever follows is not done either."""


class Death:
    """Counts changes of the file system, and lets none happen from one of them on.

    Args:
        patch: of pytest.
        point: number of the change, from 1; None only counts.
    """

    CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir")
    COMMITS = ("commit", "delete", "restore")

    def __init__(self, patch: pytest.MonkeyPatch, point: int | None = None) -> None:
        import lance
        import lance.fragment

        self.point, self.count = point, 0
        for name in self.CHANGES:
            patch.setattr(os, name, self._wrap(getattr(os, name)))
        for name in self.COMMITS:
            real = getattr(lance.LanceDataset, name)
            is_static = isinstance(lance.LanceDataset.__dict__[name], staticmethod)
            wrapped = self._wrap(real, twice=True)
            patch.setattr(lance.LanceDataset, name, staticmethod(wrapped) if is_static else wrapped)
        wrapped = self._wrap(lance.fragment.write_fragments, twice=True)
        patch.setattr(lance.fragment, "write_fragments", wrapped)
        # What a dead process left is recognized by its number, and this one goes on.
        patch.setattr("creditline.leftovers.is_abandoned", lambda name: True)

    def event(self) -> None:
        self.count += 1
        if self.point is not None and self.count >= self.point:
            raise Killed

    def _wrap(self, real: Callable[..., Any], twice: bool = False) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.event()
            result = real(*args, **kwargs)
            if twice:
                self.event()
            return result

        return wrapped


def points(count: int, most: int) -> Iterator[int]:
    """All of the numbers from 1 to `count`, or `most` of them, spread evenly."""
    step = max(1.0, (count - 1) / (most - 1))
    yield from sorted({round(1 + i * step) for i in range(most) if 1 + i * step <= count + 0.5})
