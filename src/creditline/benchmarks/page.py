"""Results of a benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from creditline.benchmarks.markdown import method_title, table
from creditline.benchmarks.results import BenchmarkResult
from creditline.benchmarks.totals_table import totals_table
from creditline.evaluation.lds.query_folders import OVERALL

HEADER = (
    *("method", "T", "default", "95 % interval", "cross-validated", "oracle"),
    *("of ceiling", "CPU s per image"),
)


def page(results: Sequence[BenchmarkResult]) -> str:
    """Make tables for each set of queries: methods, then totals per contributor.

    Columns of the first: mean LDS in % at the default damping, its 95 % interval over subsets, LDS
    at the damping chosen on other subsets and queries, LDS at the best damping; the default as a
    share of the LDS of a second set of retrained models; CPU seconds of a training image.
    """
    parts = by_queries((result, result.comparison) for result in results)
    tables = [_table(name, judged) for name, judged in parts.items()]
    shares = by_queries(
        (result, result.comparison["shares"]) for result in results if "shares" in result.comparison
    )
    for name, judged in shares.items():
        facts = judged[0][0].comparison["shares"]
        about = f"{facts['subsets']} subsets in which their shares differ"
        indexes = [(result.timesteps, result.models, part) for result, part in judged]
        tables.append(totals_table(name, indexes, about))
    return "\n\n".join(table for table in tables if table)


def by_queries(
    comparisons: Iterable[tuple[BenchmarkResult, dict[str, Any]]],
) -> dict[str, list[tuple[BenchmarkResult, dict[str, Any]]]]:
    """Group every index's methods by the name of the queries, up to a comma."""
    parts: dict[str, list[tuple[BenchmarkResult, dict[str, Any]]]] = {}
    for result, comparison in comparisons:
        for part in comparison["groups"]:
            name, _, _ = part["name"].partition(",")
            if name != OVERALL:
                parts.setdefault(name, []).append((result, part))
    return parts


def _table(name: str, judged: Sequence[tuple[BenchmarkResult, dict[str, Any]]]) -> str:
    part, facts = judged[0][1], judged[0][0].comparison
    rows: dict[tuple[str, str, int], list[str]] = {}
    for result, other in judged:
        for entry in other["methods"]:
            uses_index = entry["uses_index"]
            t = str(result.timesteps) if uses_index else ""
            seconds = f"{result.seconds:.3f}" if uses_index and result.seconds else ""
            models = result.models if uses_index else 1
            row = [method_title(entry, models), *_row(entry, t, seconds)]
            rows.setdefault((entry["method"], t, models), row)
    best_first = sorted(rows.values(), key=lambda row: -float(row[2]))
    head = (
        f"**{name}**: {len(part['queries'])} queries, {facts['subsets']} subsets, "
        f"{facts['seeds']} seeds{_ceiling(part['ceiling'])}"
    )
    return f"{head}\n\n{table(HEADER, best_first, left=(0, 3))}"


def _ceiling(ceiling: dict[str, Any] | None) -> str:
    if ceiling is None:
        return ""
    low, high = ceiling["interval_over_subsets"]
    return (
        f"; ceiling: seed to seed {_percent(ceiling['seed_to_seed'])} % ({_percent(low)} to "
        f"{_percent(high)}), mean to mean {_percent(ceiling['mean_to_mean'])} %"
    )


def _row(entry: dict[str, Any], timesteps: str, seconds: str) -> list[str]:
    low, high = entry["interval_over_subsets"]
    dampings, share = entry.get("dampings") or {}, entry.get("share_of_ceiling")
    held_out, oracle = dampings.get("cross_validated"), dampings.get("oracle")
    return [
        timesteps,
        _percent(entry["lds"]),
        f"{_percent(low)} to {_percent(high)}",
        "" if held_out is None else _percent(held_out["lds"]),
        "" if oracle is None else f"{_percent(oracle['lds'])} at {oracle['damping']:g}",
        "" if share is None else f"{100 * share:.0f} %",
        seconds,
    ]


def _percent(value: float) -> str:
    return f"{100 * value:z.1f}"
