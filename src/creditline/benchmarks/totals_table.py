"""LDS of contributors' totals as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creditline.benchmarks.markdown import method_title, table

HEADER = ("method", "T", "totals", "95 % interval", "single images", "95 % interval")


def totals_table(
    name: str, judged: Sequence[tuple[int | None, int, dict[str, Any]]], about: str
) -> str:
    """Totals beside single images, for one set of queries, best first; LDS in %.

    Args:
        name: of the queries.
        judged: timesteps, number of models, and methods judged on each index.
        about: description of the subsets that they are judged by.
    """
    rows: dict[tuple[str, str, int], list[str]] = {}
    for timesteps, models, part in judged:
        for entry in part["methods"]:
            totals = entry.get("totals_per_contributor")
            if totals is None:
                continue
            once = not entry["uses_index"]
            t, of = ("", 1) if once else (str(timesteps), models)
            row = [method_title(entry, of), t, *_cells(totals), *_cells(entry)]
            rows.setdefault((entry["method"], t, of), row)
    if not rows:
        return ""
    head = f"**{name}**, contributors' totals judged by {about}: LDS"
    best_first = sorted(rows.values(), key=lambda row: -float(row[2]))
    return f"{head}\n\n{table(HEADER, best_first, left=(0, 3, 5))}"


def _cells(values: dict[str, Any]) -> list[str]:
    low, high = values["interval_over_subsets"]
    return [f"{100 * values['lds']:z.1f}", f"{100 * low:z.1f} to {100 * high:z.1f}"]
