"""Classes by name: those of this package, and those that other packages register."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from creditline.errors import unknown


class EntryPointRegistry:
    """Named classes that are imported on first use.

    Another package adds one as an entry point of the group; a built-in name cannot be replaced.

    Args:
        kind: what the classes are, for messages, such as `"projection"`.
        group: of the entry points.
        built_in: place of each class, `"module:Class"`, by name.
    """

    def __init__(self, kind: str, group: str, built_in: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._built_in = built_in

    def names(self) -> tuple[str, ...]:
        """List all names, built-in ones first."""
        return tuple(self._points)

    def load(self, name: str) -> Any:
        """Import the class registered as `name`.

        Raises:
            SettingsError: if there is none; the message suggests the nearest name.
        """
        if name not in self._points:
            raise unknown(self.kind, name, self._points)
        return self._points[name].load()

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        places = self._built_in.items()
        points = {name: EntryPoint(name, place, self.group) for name, place in places}
        for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
            points.setdefault(point.name, point)
        return points
