"""Dampings compared, as a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from creditline.benchmarks.markdown import table
from creditline_research.studies.curvature_dampings import DampingResult


def curvature_table(results: Iterable[DampingResult]) -> str:
    """Rows that differ from a method's own setting in one thing, as one Markdown table.

    LDS in % with its 95 % interval over subsets. The largest of a method is bold; the last column
    is the own setting's share of it.

    Args:
        results: of one ground truth.
    """
    cells = []
    folders: list[str] = []
    for result in results:
        rows = [row for row in result.rows if row.is_shown]
        folders = folders or list(rows[0].lds)
        best = {
            (row.method, folder): max(r.lds[folder][0] for r in rows if r.method == row.method)
            for row in rows
            for folder in folders
        }
        for row in rows:
            is_difference = row.damping == ""
            values = [
                _cell(row.lds[f], not is_difference and row.lds[f][0] == best[row.method, f])
                for f in folders
            ]
            shares = " / ".join(f"{row.lds[f][0] / best[row.method, f]:.0%}" for f in folders)
            own = shares if row.is_default and not is_difference else ""
            cells.append(
                [row.method, str(result.timesteps), row.damping, row.transform, *values, own]
            )
    header = ("method", "T", "damping", "scores", *folders, "own, of the largest")
    return table(header, cells, left=(0, 2, 3))


def _cell(values: Sequence[float], is_best: bool) -> str:
    mean, low, high = (100 * value for value in values)
    text = f"**{mean:z.1f}**" if is_best else f"{mean:z.1f}"
    return f"{text} ({low:z.1f} to {high:z.1f})"
