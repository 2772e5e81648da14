"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

BASELINES = ("pixel-cosine", "pixel-centered", "random")
"""Methods that are the same whatever the timesteps and models of an index."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A table whose columns are right-aligned but for those at `left`."""
    rule = ["---" if i in left else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def titled(entry: dict[str, Any], models: int) -> str:
    """A method's title, and of how many models it is where there are several."""
    return entry["title"] + (f", {models} models" if models > 1 else "")
