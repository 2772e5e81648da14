"""LDS of the largest scores and of the rest as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creditline.benchmarks.markdown import method_title, table

ROWS = (
    ("above", "top", "lds"),
    ("below", "rest", "lds"),
    ("above, reliability", "top", "reliability"),
    ("below, reliability", "rest", "reliability"),
)


def top_score_table(name: str, judged: Sequence[tuple[int | None, int, dict[str, Any]]]) -> str:
    """Both parts of every split, for one set of queries; empty where none was judged.

    LDS in %, reliability as a correlation.

    Args:
        name: of the queries.
        judged: timesteps, number of models, and methods judged on each index.
    """
    rows: list[list[str]] = []
    shares: list[str] = []
    for timesteps, models, part in judged:
        for entry in part["methods"]:
            splits = entry.get("top_scores", [])
            shares = shares or [f"{100 * split['share']:g} %" for split in splits]
            for what, side, value in ROWS:
                cells = [_cell(split.get(side, {}), value) for split in splits]
                if any(cells):
                    t = str(timesteps) if "reliability" in splits[0].get("top", {}) else ""
                    rows.append([method_title(entry, models), t, what, *cells])
    if not rows:
        return ""
    head = (
        f"**{name}**, scores split at the share of training images above: LDS in % of the part "
        "above and of the part below, and correlation of either with fresh noise"
    )
    return f"{head}\n\n{table(['method', 'T', 'part', *shares], rows, left=(0, 2))}"


def _cell(values: dict[str, Any], name: str) -> str:
    if name not in values:
        return ""
    return f"{100 * values[name]:z.1f}" if name == "lds" else f"{values[name]:z.2f}"
