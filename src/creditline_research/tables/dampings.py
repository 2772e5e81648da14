"""LDS at every damping as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creditline.benchmarks.markdown import method_title, table


def damping_table(name: str, judged: Sequence[tuple[int | None, int, dict[str, Any]]]) -> str:
    """Mean LDS in % at every damping of the grid, for one set of queries; the best is bold.

    Args:
        name: of the queries.
        judged: timesteps, number of models, and methods judged on each index.
    """
    rows: list[list[str]] = []
    grid: list[str] = []
    for timesteps, models, part in judged:
        for entry in part["methods"]:
            curve = entry.get("dampings", {}).get("curve", {})
            if curve:
                grid = grid or sorted(curve, key=float)
                best = max(curve.values())
                cells = [_cell(curve.get(d), best) for d in grid]
                rows.append([method_title(entry, models), str(timesteps), *cells])
    if not rows:
        return ""
    head = f"**{name}**, LDS by damping, in mean eigenvalues of the centered kernel"
    return f"{head}\n\n{table(['method', 'T', *grid], rows)}"


def _cell(value: float | None, best: float) -> str:
    if value is None:
        return ""
    text = f"{100 * value:z.1f}"
    return f"**{text}**" if value == best else text
