"""LDS at several dampings: the default, a cross-validated choice and the best in hindsight.

A damping that is chosen on the losses of the evaluation overstates the method. Three scores are
therefore reported, each with its name:

    default          the method's own setting; uses no loss
    cross-validated  chosen on half of the subsets and half of the queries, and evaluated on the
                     other half of both; the mean over repeated splits
    oracle           the best of the grid on the data of the evaluation: an upper bound, not a
                     result

Each damping costs one score matrix, which is reduced to predicted outputs at once. Features are
extracted only once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.bounds import COUNT, POSITIVE, SEED
from creditline.errors import NumericsError
from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.correlation import spearman
from creditline.evaluation.lds.folds import split_evenly
from creditline.evaluation.lds.score import LDS, predict_outputs, score_outputs
from creditline.methods.subset_losses import MIN_SUBSETS, subset_losses
from creditline.settings import setting, validate_settings


@dataclass(frozen=True)
class DampingSearch:
    """Settings of the damping search: the grid and its cross-validation."""

    dampings: tuple[float, ...] = setting(
        (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        "dampings to try, in the unit of the method's own",
        bounds=POSITIVE,
    )
    splits: int = setting(
        20, "random splits of subsets and queries in cross-validation", bounds=COUNT
    )
    split_seed: int = setting(0, "seed of the random splits", bounds=SEED)

    def __post_init__(self) -> None:
        validate_settings(self)


@dataclass(frozen=True, eq=False)
class DampingScores:
    """LDS of one method at its default, cross-validated and best damping.

    Attributes:
        default: LDS at the method's own damping.
        default_damping: the method's own damping.
        cross_validated: LDS at cross-validated dampings; None with fewer than 16 subsets or 2
            queries. Its interval over subsets is that of the chosen dampings, around the
            held-out mean.
        choice_shares: share of the splits that chose each damping.
        oracle: LDS at the best damping.
        oracle_damping: the best damping.
        curve: mean LDS at each damping that float64 can solve.
    """

    default: LDS
    default_damping: float
    cross_validated: LDS | None
    choice_shares: Mapping[float, float]
    oracle: LDS
    oracle_damping: float
    curve: Mapping[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        held_out = self.cross_validated
        return {
            "default": {"damping": self.default_damping, **self.default.to_dict()},
            "cross_validated": None
            if held_out is None
            else {
                "choice_shares": {f"{d:g}": share for d, share in self.choice_shares.items()},
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
    """Predict outputs at the default damping and at every damping of the grid.

    Args:
        scores_at: function of a damping that returns scores `(m, n)`. It raises `NumericsError`
            for a damping that is too small for float64; such a damping is left out, unless it is
            the default.
        masks: shape `(M, n)`.
        default: the method's own damping.
        search: the grid.

    Returns:
        Predicted outputs `(m, M)` by damping, ascending.

    Raises:
        DataError: for the reasons of `predict_outputs`.
        NumericsError: if the default damping is too small for float64.
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
    """Compute the LDS at the default, cross-validated and best damping.

    Args:
        outputs: predicted outputs by damping, from `predict_per_damping`.
        losses: shape `(M, m)` or `(M, S, m)`.
        default: the method's own damping, a key of `outputs`.
        search: settings of the cross-validation.
        query_names: names of the queries, for error messages.
        resamples: number of bootstrap resamples of the subsets.
        seed: seed of the resamples.

    Raises:
        DataError: for the reasons of `lds`.
    """
    search = search or DampingSearch()
    dampings, cached = list(outputs), {}

    def score(damping: float) -> LDS:
        if damping not in cached:
            cached[damping] = score_outputs(
                outputs[damping], losses, query_names=query_names, resamples=resamples, seed=seed
            )
        return cached[damping]

    first = score(default)  # checks the arrays
    target = -subset_losses(losses, query_names=query_names).mean(1).T
    curve = {d: float(spearman(outputs[d], target).mean()) for d in dampings}
    best = max(dampings, key=lambda d: (curve[d], d == default))
    held_out, shares = None, {}
    if target.shape[1] >= 2 * MIN_SUBSETS and len(target) >= 2:
        choices, values = _cross_validate(np.stack(list(outputs.values())), target, search)
        held_out = _combine_choices(
            choices, values, {i: score(dampings[i]) for i in np.unique(choices)}
        )
        times = Counter(choices.ravel().tolist())
        shares = {d: times[i] / choices.size for i, d in enumerate(dampings) if times[i]}
    return DampingScores(first, default, held_out, shares, score(best), best, curve)


def _cross_validate(
    outputs: np.ndarray, target: np.ndarray, search: DampingSearch
) -> tuple[np.ndarray, np.ndarray]:
    """Choose a damping for each query and compute its LDS on the other subsets.

    Args:
        outputs: shape `(dampings, m, M)`.
        target: shape `(m, M)`.

    Returns:
        Positions of dampings and LDS, both of shape `(2 splits, m)`. Each split evaluates every
        query twice, on either half of the subsets, at a damping that was chosen without it.
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
            for choosing, held_out in (queries, queries[::-1]):
                best = int(scores[other][:, choosing].mean(1).argmax())
                choices[row, held_out] = best
                values[row, held_out] = scores[side][best, held_out]
    return choices, values


def _combine_choices(choices: np.ndarray, values: np.ndarray, scores: Mapping[int, LDS]) -> LDS:
    """Average the held-out LDS of each query, with the spread of the chosen dampings."""
    points = values.mean(0)
    spread = sum(
        (choices == i).mean(0) * (score.resampled - score.per_query) for i, score in scores.items()
    )
    any_score = next(iter(scores.values()))
    return LDS(points, points + spread, any_score.subsets, any_score.seed, {})
