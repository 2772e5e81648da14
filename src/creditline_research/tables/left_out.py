"""Settings judged on the ground truth that was left out, as a Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.benchmarks.markdown import table
from creditline_research.studies.curvature_dampings import DampingRow
from creditline_research.studies.left_out import LeftOut


def own_settings_table(rows: Sequence[LeftOut]) -> str:
    """LDS in % of every method's own setting with its 95 % interval, and its share of the ceiling.

    Args:
        rows: of `leave_one_out`.
    """
    cells = []
    for method, cases in _by_method(rows):
        for row in cases:
            lds = [
                f"{100 * mean:z.1f} ({100 * low:z.1f} to {100 * high:z.1f})"
                for mean, low, high in row.own.lds.values()
            ]
            cells.append([method, row.case, *lds, _percent(row.shares_of_ceiling(row.own))])
        judged = [row.shares_of_ceiling(row.own) for row in cases if all(row.ceilings.values())]
        means = np.mean(judged, axis=0) if judged else [np.nan]
        cells.append([method, "mean", "", "", _percent(means)])
    header = ("method", "ground truth", "held out", "generated", "of the ceiling")
    return table(header, cells, left=(0, 1))


def left_out_table(rows: Sequence[LeftOut]) -> str:
    """LDS in % on held-out and on generated images, and its share of the method's largest.

    Args:
        rows: of `leave_one_out`.
    """
    cells = []
    for method, cases in _by_method(rows):
        for row in cases:
            judged = [*_judged(row, row.choice), *_judged(row, row.own)]
            cells.append([method, row.case, _name(row.choice), *judged])
        means = [
            _percent(np.mean([row.shares(setting(row)) for row in cases], axis=0))
            for setting in (lambda row: row.choice, lambda row: row.own)
        ]
        cells.append([method, "mean", "", "", means[0], "", means[1]])
    header = (
        *("method", "ground truth", "chosen on the others", "LDS", "of the largest"),
        *("own setting: LDS", "of the largest"),
    )
    return table(header, cells, left=(0, 1, 2))


def _by_method(rows: Sequence[LeftOut]) -> list[tuple[str, list[LeftOut]]]:
    methods = dict.fromkeys(row.method for row in rows)
    return [(method, [row for row in rows if row.method == method]) for method in methods]


def _name(row: DampingRow) -> str:
    return row.damping if row.transform == "plain" else f"{row.damping}, {row.transform}"


def _judged(row: LeftOut, setting: DampingRow) -> list[str]:
    lds = " / ".join(f"{100 * mean:z.1f}" for mean, _, _ in setting.lds.values())
    return [lds, _percent(row.shares(setting))]


def _percent(values: Sequence[float]) -> str:
    return " / ".join("–" if np.isnan(value) else f"{value:.0%}" for value in values)
