"""Projections compared, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.benchmarks.markdown import table
from creditline.gradients.projection import Projection
from creditline_research.studies.projections import ProjectionRow, layout_name

HEADER = ("method", "T", "projection", "rank", "layout", "k", "bits", "bytes", "agreement")


def projection_table(rows: Sequence[ProjectionRow]) -> str:
    """All rows as one Markdown table, LDS in % with its 95 % interval over subsets."""
    folders = list(rows[0].lds)
    cells = []
    for row in rows:
        p = row.projection
        explicit = p["projection"] == "none"
        sided = "rank" in Projection(p["projection"]).projector.settings
        cells.append(
            [
                row.method,
                str(row.timesteps),
                "explicit gradients" if explicit else p["projection"],
                str(p["rank"]) if sided else "",
                "" if explicit else layout_name(p),
                f"{_numbers(row):,}",
                str(row.bits),
                f"{_numbers(row) * row.bits // 8:,}",
                f"{row.agreement:.3f}",
                *(_with_interval(row.lds[folder]) for folder in folders),
            ]
        )
    header = (*HEADER, *(f"LDS, {folder}" for folder in folders))
    return table(header, cells, left=(0, 2, 4))


def _numbers(row: ProjectionRow) -> int:
    """Numbers that are stored of an image."""
    p = row.projection
    return int(p["size"] if p["projection"] == "none" else p["dim"])


def _with_interval(values: Sequence[float]) -> str:
    mean, low, high = (100 * value for value in values)
    return f"{mean:z.1f} ({low:z.1f} to {high:z.1f})"
