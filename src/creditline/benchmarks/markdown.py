"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """Make a table; columns are right-aligned except those at `left`."""
    rule = ["---" if i in left else "--:" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def method_title(entry: dict[str, Any], models: int) -> str:
    """Format a method's title, with the number of models where there are several."""
    return entry["title"] + (f", {models} models" if models > 1 else "")
