"""Transforms of scores as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from creditline.benchmarks.markdown import method_title, table


def transform_table(
    name: str, judged: Sequence[tuple[int | None, int, dict[str, Any]]], totals: bool = False
) -> str:
    """Plain scores beside every transform, for one set of queries; empty without transforms.

    Cells are LDS in %, then the gain over the plain score with its 95 % interval over subsets.

    Args:
        name: of the queries.
        judged: timesteps, number of models, and methods judged on each index.
        totals: show totals per contributor instead of single images.
    """
    rows: list[list[str]] = []
    transforms: list[str] = []
    for timesteps, models, part in judged:
        for entry in part["methods"]:
            scores = _transform_scores(entry, totals)
            if scores:
                transforms = transforms or list(scores)
                cells = [_cell(scores[t]) if t in scores else "" for t in transforms]
                rows.append([method_title(entry, models), str(timesteps), *cells])
    if not rows:
        return ""
    what = "totals per contributor by score transform" if totals else "score transforms"
    head = f"**{name}**, {what}: LDS, and gain over plain with its interval"
    return f"{head}\n\n{table(['method', 'T', *transforms], rows)}"


def _transform_scores(entry: dict[str, Any], totals: bool) -> dict[str, dict[str, Any]]:
    transforms = entry.get("transforms", {})
    if not totals:
        return transforms
    key = "totals_per_contributor"
    return {name: values[key] for name, values in transforms.items() if key in values}


def _cell(values: dict[str, Any]) -> str:
    lds = f"{100 * values['lds']:z.1f}"
    if not values["gain"] and not any(values["gain_interval_over_subsets"]):
        return lds
    low, high = values["gain_interval_over_subsets"]
    return f"{lds} ({100 * values['gain']:+.1f}: {100 * low:z.1f} to {100 * high:z.1f})"
