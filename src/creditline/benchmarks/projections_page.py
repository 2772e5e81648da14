"""Projections compared, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.benchmarks.markdown import table
from creditline.benchmarks.projections import ProjectionRow, layout_of
from creditline.gradients.projection import Projection

HEADER = ("method", "T", "projection", "rank", "layout", "k", "agreement")


def projections_page(rows: Sequence[ProjectionRow]) -> str:
    """All rows as one Markdown table, LDS in % with its 95 % interval over subsets."""
    folders = list(rows[0].lds)
    cells = []
    for row in rows:
        p = row.projection
        whole, sided = p["projection"] == "none", Projection(p["projection"]).sided
        cells.append(
            [
                row.method,
                str(row.timesteps),
                "whole gradients" if whole else p["projection"],
                str(p["rank"]) if sided else "",
                "" if whole else layout_of(p),
                f"{p['kept'] if whole else p['dim']:,}",
                f"{row.agreement:.3f}",
                *(_with_interval(row.lds[folder]) for folder in folders),
            ]
        )
    header = (*HEADER, *(f"LDS, {folder}" for folder in folders))
    return table(header, cells, left=(0, 2, 4))


def _with_interval(found: Sequence[float]) -> str:
    mean, low, high = (100 * value for value in found)
    return f"{mean:z.1f} ({low:z.1f} to {high:z.1f})"
