"""Dampings compared, as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from creditline.benchmarks.markdown import table
from creditline_research.studies.curvature_dampings import DampingRow


def curvature_table(results: Mapping[int, Sequence[DampingRow]]) -> str:
    """All rows as one Markdown table, LDS in % with its 95 % interval over subsets.

    The largest of a method is bold; the last column is the default's share of it.

    Args:
        results: rows by number of timesteps.
    """
    cells = []
    folders: list[str] = []
    for timesteps, rows in results.items():
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
            cells.append([row.method, str(timesteps), row.damping, *values, own])
    header = ("method", "T", "damping", *folders, "default, of the largest")
    return table(header, cells, left=(0, 2))


def _cell(values: Sequence[float], is_best: bool) -> str:
    mean, low, high = (100 * value for value in values)
    text = f"**{mean:z.1f}**" if is_best else f"{mean:z.1f}"
    return f"{text} ({low:z.1f} to {high:z.1f})"
