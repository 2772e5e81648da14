"""The study of scores as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from creditline_research.tables.top_scores import top_score_table
from creditline_research.tables.transforms import transform_table

JudgedPart = tuple[int | None, int, dict[str, Any]]
"""Timesteps, number of models, and methods judged on one index."""


def score_tables(results: Sequence[dict[str, Any]]) -> str:
    """Make the tables of transforms and splits for each set of queries.

    Args:
        results: as `study_benchmark` returns them.
    """
    tables = []
    for name, parts in _by_queries((result, result["groups"]) for result in results).items():
        tables += [transform_table(name, parts), top_score_table(name, parts)]
    shares = ((result, result["shares"]["groups"]) for result in results if "shares" in result)
    for name, parts in _by_queries(shares).items():
        tables.append(transform_table(name, parts, totals=True))
    return "\n\n".join(table for table in tables if table)


def _by_queries(
    results: Iterable[tuple[dict[str, Any], list[dict[str, Any]]]],
) -> dict[str, list[JudgedPart]]:
    by_name: dict[str, list[JudgedPart]] = {}
    for result, parts in results:
        for part in parts:
            entry = (result["timesteps"], result["models"], part)
            by_name.setdefault(part["name"], []).append(entry)
    return by_name
