"""Methods with and without learned weights, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

from creditline.benchmarks.markdown import table
from creditline_research.studies.layer_weights import LayerWeightRow


def layer_weight_table(rows: Sequence[LayerWeightRow]) -> str:
    """LDS in % with 95 % intervals over subsets, differences on equal resamples, and weights."""
    folders, cells = list(rows[0].gain), []
    for row in rows:
        parts = {"equal": row.equal, "learned": row.learned, "difference": row.gain}
        cells += [
            [row.base, str(row.timesteps), name, *(_cell(values[f]) for f in folders)]
            for name, values in parts.items()
        ]
    lines = [
        f"{row.base}, T = {row.timesteps}: {row.weights['layers']} layers, as if "
        f"{row.weights['layers if all weights were equal']} had equal weights; largest "
        + ", ".join(f"{name} {w:g}" for name, w in row.weights["largest layer weights"].items())
        for row in rows
    ]
    header = ("method", "T", "weights", *folders)
    return "\n\n".join([table(header, cells, left=(0, 2)), *lines])


def _cell(values: Sequence[float]) -> str:
    mean, low, high = (100 * value for value in values)
    return f"{mean:z.1f} ({low:z.1f} to {high:z.1f})"
