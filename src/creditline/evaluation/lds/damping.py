"""How much damping: by the rule that needs no labels, by cross-validation, and with hindsight.

A damping chosen on the losses that a method is then judged by flatters the method. Three scores
stand side by side, always by name:

    default          the method's own setting; no loss was looked at
    cross-validated  chosen on half of the subsets and half of the queries, judged on the other
                     half of both; the mean over repeated splits
    oracle           the best in the grid on everything it is judged by: an upper bound, not a
                     result

Each damping costs one matrix of scores, which is reduced to predicted outputs at once; features
are extracted before and never again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.errors import NumericsError
from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.correlation import spearman
from creditline.evaluation.lds.folds import split_evenly
from creditline.evaluation.lds.score import LDS, predict_outputs, score_outputs
from creditline.retraining.arrays import MIN_SUBSETS, subset_losses
from creditline.settings import require, setting


@dataclass(frozen=True)
class DampingSearch:
    """Which dampings are tried, and how often subsets and queries are split."""

    dampings: tuple[float, ...] = setting(
        (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        "dampings to try, in the unit of the method's own",
    )
    splits: int = setting(20, "random halvings of subsets and queries in cross-validation")
    split_seed: int = setting(0, "seed of the halvings")

    def __post_init__(self) -> None:
        require(
            len(self.dampings) > 0 and all(np.isfinite(d) and d > 0 for d in self.dampings),
            "dampings are one or more positive numbers",
            self.dampings,
            "Leave them out for the default grid.",
        )
        require(self.splits >= 1, "splits must be at least 1", self.splits, "Try 20.")
        require(self.split_seed >= 0, "split_seed must not be negative", self.split_seed, "Try 0.")


@dataclass(frozen=True, eq=False)
class DampingScores:
    """The three scores of one method.

    Attributes:
        default: at the method's own damping.
        default_damping: that damping.
        cross_validated: None with fewer than 16 subsets or 2 queries, which have no halves. Its
            interval over subsets is that of the dampings chosen, around the held-out mean.
        chosen: share of the splits that chose each damping.
        oracle: at the best damping.
        oracle_damping: that damping.
        curve: mean LDS at each damping that float64 can solve.
    """

    default: LDS
    default_damping: float
    cross_validated: LDS | None
    chosen: Mapping[float, float]
    oracle: LDS
    oracle_damping: float
    curve: Mapping[float, float]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        held_out = self.cross_validated
        return {
            "default": {"damping": self.default_damping, **self.default.to_dict()},
            "cross_validated": None
            if held_out is None
            else {
                "chosen": {f"{d:g}": share for d, share in self.chosen.items()},
                **held_out.to_dict(),
            },
            "oracle": {"damping": self.oracle_damping, **self.oracle.to_dict()},
            "curve": {f"{d:g}": value for d, value in self.curve.items()},
        }


def predict_per_damping(
    scores_at: Callable[[float], np.ndarray],
    masks: np.ndarray,
    default: float,
    search: DampingSearch | None = None,
) -> dict[float, np.ndarray]:
    """Predicted outputs at every damping of the grid and at the default, ascending.

    Args:
        scores_at: scores `(m, n)` at a damping. A damping too small for float64 is refused by a
            `NumericsError`, and left out; not the default.
        masks: shape `(M, n)`.
        default: the method's own damping.
        search: the grid.

    Returns:
        Damping to predicted outputs, shape `(m, M)`.

    Raises:
        DataError: as `predict_outputs`.
    """
    outputs = {default: predict_outputs(scores_at(default), masks)}
    for damping in (search or DampingSearch()).dampings:
        if damping not in outputs:
            try:
                outputs[damping] = predict_outputs(scores_at(damping), masks)
            except NumericsError:
                continue
    return dict(sorted(outputs.items()))


def score_dampings(
    outputs: Mapping[float, np.ndarray],
    losses: np.ndarray,
    default: float,
    search: DampingSearch | None = None,
    *,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> DampingScores:
    """The three scores of a method.

    Args:
        outputs: as `predict_per_damping` returns.
        losses: shape `(M, m)` or `(M, S, m)`.
        default: the method's own damping, one of the outputs'.
        search: how to cross-validate.
        query_names: of the queries, for errors.
        resamples, seed: of the bootstrap.

    Raises:
        DataError: as `lds`.
    """
    search = search or DampingSearch()
    dampings, judged = list(outputs), {}

    def score(damping: float) -> LDS:
        if damping not in judged:
            judged[damping] = score_outputs(
                outputs[damping], losses, query_names=query_names, resamples=resamples, seed=seed
            )
        return judged[damping]

    first = score(default)  # checks the arrays
    target = -subset_losses(losses, query_names=query_names).mean(1).T
    curve = {d: float(spearman(outputs[d], target).mean()) for d in dampings}
    best = max(dampings, key=lambda d: (curve[d], d == default))
    held_out, chosen = None, {}
    if target.shape[1] >= 2 * MIN_SUBSETS and len(target) >= 2:
        choices, values = _cross_validate(np.stack(list(outputs.values())), target, search)
        held_out = _mixed(choices, values, {i: score(dampings[i]) for i in np.unique(choices)})
        times = Counter(choices.ravel().tolist())
        chosen = {d: times[i] / choices.size for i, d in enumerate(dampings) if times[i]}
    return DampingScores(first, default, held_out, chosen, score(best), best, curve)


def _cross_validate(
    outputs: np.ndarray, target: np.ndarray, search: DampingSearch
) -> tuple[np.ndarray, np.ndarray]:
    """Which damping was chosen for each query, and what it then scored on the other subsets.

    Args:
        outputs: shape `(dampings, m, M)`.
        target: shape `(m, M)`.

    Returns:
        Positions of dampings and scores, both of shape `(2 splits, m)`: every query is judged
        twice per split, on either half of the subsets, by a choice made without it.
    """
    m, subsets = target.shape
    choices = np.empty((2 * search.splits, m), dtype=np.int64)
    values = np.empty((2 * search.splits, m))
    for split in range(search.splits):
        seed = search.split_seed + split
        halves = split_evenly(subsets, 2, seed)
        scores = [spearman(outputs[..., half], target[:, half]) for half in halves]
        queries = split_evenly(m, 2, seed)
        for side, other in ((0, 1), (1, 0)):
            row = 2 * split + side
            for choosing, judged in (queries, queries[::-1]):
                best = int(scores[other][:, choosing].mean(1).argmax())
                choices[row, judged] = best
                values[row, judged] = scores[side][best, judged]
    return choices, values


def _mixed(choices: np.ndarray, values: np.ndarray, scores: Mapping[int, LDS]) -> LDS:
    """A held-out score per query, with the spread of the dampings that were chosen for it."""
    points = values.mean(0)
    spread = sum(
        (choices == i).mean(0) * (score.resampled - score.per_query) for i, score in scores.items()
    )
    any_score = next(iter(scores.values()))
    return LDS(points, points + spread, any_score.subsets, any_score.seed, {})
