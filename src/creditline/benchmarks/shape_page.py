"""The shapes of scores as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creditline.benchmarks.markdown import table, titled


def shape_table(
    name: str, found: Sequence[tuple[int, int, dict[str, Any]]], totals: bool = False
) -> str:
    """Plain scores against every shape of them, for one set of queries; empty without shapes.

    Cells are LDS in %, then the gain over the plain score with its 95 % interval over subsets.

    Args:
        name: of the queries.
        found: timesteps, models and methods of each index.
        totals: judge totals per contributor instead of single images.
    """
    rows: list[list[str]] = []
    shapes: list[str] = []
    for timesteps, models, part in found:
        for entry in part["methods"]:
            judged = _judged(entry, totals)
            if judged:
                shapes = shapes or list(judged)
                cells = [_cell(judged[shape]) if shape in judged else "" for shape in shapes]
                rows.append([titled(entry, models), str(timesteps), *cells])
    if not rows:
        return ""
    what = "totals per contributor by the shape of the score" if totals else "the score's shape"
    head = f"**{name}**, {what}: LDS, and gain over plain with its interval"
    return f"{head}\n\n{table(['method', 'T', *shapes], rows)}"


def _judged(entry: dict[str, Any], totals: bool) -> dict[str, dict[str, Any]]:
    shapes = entry.get("shapes", {})
    if not totals:
        return shapes
    key = "totals_per_contributor"
    return {name: values[key] for name, values in shapes.items() if key in values}


def _cell(values: dict[str, Any]) -> str:
    lds = f"{100 * values['lds']:z.1f}"
    if not values["gain"] and not any(values["gain_interval_over_subsets"]):
        return lds
    low, high = values["gain_interval_over_subsets"]
    return f"{lds} ({100 * values['gain']:+.1f}: {100 * low:z.1f} to {100 * high:z.1f})"
