"""Equal images of a set."""

from __future__ import annotations

from collections.abc import Sequence


def find_duplicates(ids: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Return groups of positions whose ids are equal, each group and the list ascending."""
    groups: dict[str, list[int]] = {}
    for row, key in enumerate(ids):
        groups.setdefault(key, []).append(row)
    return tuple(tuple(rows) for rows in groups.values() if len(rows) > 1)
