"""Settings chosen on all ground truths but one, and judged on that one.

A setting is chosen by its LDS relative to the largest of its method on the same queries, averaged
over the other ground truths and their kinds of queries. A ground truth with high LDS counts no more
than one with low LDS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.errors import SettingsError
from creditline.settings import require
from creditline_research.studies.curvature_dampings import DampingResult, DampingRow


@dataclass(frozen=True)
class LeftOut:
    """What one method's settings reach on a ground truth that had no part in choosing them.

    Attributes:
        case: the ground truth.
        method: title.
        choice: the setting that is best on the others.
        own: the method's own setting.
        largest: of any setting on the case, by folder of queries; an oracle.
        ceilings: of the case, by folder of queries.
    """

    case: str
    method: str
    choice: DampingRow
    own: DampingRow
    largest: dict[str, float]
    ceilings: dict[str, float | None]

    def shares_of_ceiling(self, row: DampingRow) -> list[float]:
        """LDS of a setting relative to the ceiling; NaN where there is none."""
        return [row.lds[name][0] / (value or np.nan) for name, value in self.ceilings.items()]

    def shares(self, row: DampingRow) -> list[float]:
        """LDS of a setting relative to the largest, of each folder of queries."""
        return [row.lds[folder][0] / value for folder, value in self.largest.items()]


def leave_one_out(results: Sequence[DampingResult]) -> list[LeftOut]:
    """Choose the setting of every method on all results but one, for each result.

    Only settings that every result has take part: where a model's training is not known, the
    filter of its training has no scores.

    Args:
        results: one for each ground truth.

    Returns:
        A row for each method and ground truth.

    Raises:
        SettingsError: with fewer than three ground truths or with one twice, and for results of
            different numbers of timesteps, without two folders of queries, or without a method's
            own setting.
    """
    names = [result.case for result in results]
    require(
        len(names) >= 3 and len(set(names)) == len(names),
        "three or more ground truths, each once",
        ", ".join(names),
        "Give one file of each.",
    )
    timesteps = {result.timesteps for result in results}
    require(
        len(timesteps) == 1,
        "results have the same number of timesteps",
        ", ".join(map(str, sorted(timesteps))),
        "Give files of one number.",
    )
    folders = {len(result.ceilings) for result in results}
    require(
        folders == {2},
        "every result has two folders of queries, held-out and generated images",
        ", ".join(f"{result.case}: {len(result.ceilings)}" for result in results),
        "Judge both (--queries).",
    )
    tables = {result.case: _settings(result) for result in results}
    ceilings = {result.case: result.ceilings for result in results}
    known = set.intersection(*(set(table) for table in tables.values()))
    rows = []
    for method in dict.fromkeys(key[0] for key in tables[names[0]]):
        keys = [key for key in tables[names[0]] if key[0] == method and key in known]
        shares = {
            case: np.stack([_means(table[key]) for key in keys]) for case, table in tables.items()
        }
        largest = {case: values.max(axis=0) for case, values in shares.items()}
        for case, table in tables.items():
            others = [shares[name] / largest[name] for name in names if name != case]
            best = int(np.argmax(np.concatenate(others, axis=1).mean(axis=1)))
            own = next((table[key] for key in keys if table[key].is_default), None)
            if own is None:
                raise SettingsError(
                    f"A result lacks {method}'s own setting, with which others are compared. Run "
                    "`creditline research curvature` without changing its lists of settings."
                )
            largest_lds = dict(zip(own.lds, largest[case].tolist(), strict=True))
            choice = table[keys[best]]
            rows.append(LeftOut(case, method, choice, own, largest_lds, ceilings[case]))
    return rows


def _settings(result: DampingResult) -> Mapping[tuple[str, str, str], DampingRow]:
    return {(r.method, r.damping, r.transform): r for r in result.rows if r.damping}


def _means(row: DampingRow) -> np.ndarray:
    return np.array([mean for mean, _, _ in row.lds.values()])
