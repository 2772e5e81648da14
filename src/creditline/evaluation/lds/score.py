"""LDS: the linear datamodeling score of an attribution method (Park et al., ICML 2023).

The predicted output of a subset is the sum of the scores of its images. The LDS of a query is the
Spearman correlation over subsets between predicted outputs and negative losses of retrained
models, where losses are averaged over training seeds. An LDS of 1 ranks all subsets correctly; an
LDS of 0 is chance.

    LDS(q) = rank correlation over j of  sum_{i in S_j} score(q, i)  and  -loss_j(q)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from creditline.errors import DataError
from creditline.evaluation.interval import (
    RESAMPLES,
    Interval,
    basic_interval,
    bootstrap_interval,
    count_draws,
)
from creditline.evaluation.lds.correlation import resampled_spearman, spearman
from creditline.methods.subset_losses import MIN_SUBSETS, subset_losses, subset_masks

QUANTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True, eq=False)
class LDS:
    """The LDS of one method on one ground truth.

    Attributes:
        per_query: LDS of each query, float64 of shape `(m,)`.
        resampled: LDS of each query on each bootstrap resample of the subsets, shape `(R, m)`.
        subsets: number of subsets, M.
        seed: seed of the resamples; equal seeds draw the same subsets, which pairs two methods.
        convergence: LDS of each query from fewer subsets, by the number of subsets: the mean over
            disjoint groups of this size, shape `(m,)`.
    """

    per_query: np.ndarray
    resampled: np.ndarray
    subsets: int
    seed: int
    convergence: Mapping[int, np.ndarray]

    @property
    def queries(self) -> int:
        """The number of queries."""
        return len(self.per_query)

    @property
    def mean(self) -> float:
        """The mean LDS over queries, the point estimate."""
        return float(self.per_query.mean())

    @property
    def interval(self) -> Interval:
        """The 95 % basic bootstrap interval of the mean over subsets, with fixed queries."""
        low, high = basic_interval(self.resampled.mean(1), self.mean)
        return max(-1.0, low), min(1.0, high)

    @property
    def query_interval(self) -> Interval:
        """The 95 % bootstrap interval of the mean over queries, with fixed subsets."""
        return bootstrap_interval(self.per_query, seed=self.seed)

    @property
    def bootstrap_mean_and_std(self) -> tuple[float, float]:
        """Mean and standard deviation over resampled subsets, as in the tables of D-TRAK.

        The mean is below the point estimate, because a subset that is drawn twice is a tie.
        """
        means = self.resampled.mean(1)
        return float(means.mean()), float(means.std())

    @property
    def quantiles(self) -> dict[int, float]:
        """Quantiles of the LDS over queries, by percentage."""
        values = np.percentile(self.per_query, QUANTILES)
        return dict(zip(QUANTILES, values.tolist(), strict=True))

    def select(self, queries: Sequence[int] | slice) -> Self:
        """Return the LDS on some of the queries."""
        rows = queries if isinstance(queries, slice) else list(queries)
        convergence = {size: values[rows] for size, values in self.convergence.items()}
        return type(self)(
            self.per_query[rows], self.resampled[:, rows], self.subsets, self.seed, convergence
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the resamples as JSON-ready values."""
        return {
            "lds": self.mean,
            "interval_over_subsets": list(self.interval),
            "interval_over_queries": list(self.query_interval),
            "bootstrap_mean_and_std": list(self.bootstrap_mean_and_std),
            "quantiles": {str(k): v for k, v in self.quantiles.items()},
            "convergence": {str(k): float(v.mean()) for k, v in self.convergence.items()},
            "per_query": self.per_query.tolist(),
        }


@dataclass(frozen=True)
class Difference:
    """The difference between the LDS of two methods.

    Attributes:
        mean: mean of the per-query differences.
        interval: 95 % interval over subsets, with both methods on the same resamples.
        query_interval: 95 % interval over queries.
    """

    mean: float
    interval: Interval
    query_interval: Interval


def compute_lds(
    scores: np.ndarray,
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LDS:
    """Compute the LDS of a score matrix.

    Args:
        scores: scores of n training images for m queries, shape `(m, n)`; positive where training
            on the image lowers the loss of the query.
        masks: membership of images in M subsets, shape `(M, n)`.
        losses: losses of the queries, shape `(M, m)` or `(M, S, m)` with S training seeds, which
            are averaged.
        query_names: names of the queries, for error messages.
        resamples: number of bootstrap resamples of the subsets.
        seed: seed of the resamples.

    Returns:
        The LDS of every query with intervals. It is 0 for a query whose predicted outputs are the
        same for all subsets.

    Raises:
        DataError: if shapes do not match, a score or loss is not finite, a query's loss is the
            same under all subsets, or there are fewer than 8 subsets.
    """
    outputs = predict_outputs(scores, masks)
    return score_outputs(outputs, losses, query_names=query_names, resamples=resamples, seed=seed)


def predict_outputs(scores: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Predict the output of each subset as the sum of the scores of its images.

    Args:
        scores: shape `(m, n)`.
        masks: shape `(M, n)`.

    Returns:
        float64 of shape `(m, M)`.

    Raises:
        DataError: if scores and masks have different numbers of images.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2:
        raise DataError(f"Scores have shape (queries, training images); got {scores.shape}.")
    return scores @ subset_masks(masks, scores.shape[1]).T.astype(np.float64)


def score_outputs(
    outputs: np.ndarray,
    losses: np.ndarray,
    *,
    query_names: Sequence[str] | None = None,
    folds: Sequence[np.ndarray] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LDS:
    """Compute the LDS of predicted outputs, which need not be sums of scores.

    Args:
        outputs: predicted output of every subset, shape `(m, M)`; a larger output is a lower loss.
        losses: shape `(M, m)` or `(M, S, m)`.
        query_names: names of the queries, for error messages.
        folds: groups of subsets that are ranked separately; their correlations are averaged. Used
            for predictions of several fits, whose offsets differ.
        resamples: number of bootstrap resamples of the subsets.
        seed: seed of the resamples.

    Raises:
        DataError: for the reasons of `compute_lds`.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    target = subset_losses(losses, outputs.shape[-1], query_names).mean(1)
    if outputs.shape != target.T.shape:
        raise DataError(
            f"There are scores of {len(outputs)} queries and losses of {target.shape[1]}. Give "
            "the same queries to both, in the same order."
        )
    broken = ~np.isfinite(outputs).all(1)
    if broken.any():
        raise DataError(
            f"The scores of {int(broken.sum())} of {len(broken)} queries are not finite, first "
            f"query {int(np.argmax(broken))}. Check the features that they are computed from."
        )
    subsets = len(target)
    draws = count_draws(subsets, resamples, seed)
    groups = [np.arange(subsets)] if folds is None else [np.asarray(fold) for fold in folds]
    pairs = [(outputs[:, group], -target.T[:, group]) for group in groups]
    return LDS(
        per_query=np.mean([spearman(a, b) for a, b in pairs], axis=0),
        resampled=np.mean(
            [
                resampled_spearman(a, b, draws[:, group])
                for (a, b), group in zip(pairs, groups, strict=True)
            ],
            axis=0,
        ),
        subsets=subsets,
        seed=seed,
        convergence=_convergence(*pairs[0]) if folds is None else {},
    )


def _convergence(outputs: np.ndarray, target: np.ndarray) -> dict[int, np.ndarray]:
    """Compute the LDS from an eighth, a quarter, half and all of the subsets."""
    subsets = outputs.shape[1]
    sizes = (subsets // divisor for divisor in (8, 4, 2, 1))
    return {size: _group_mean(outputs, target, size) for size in sizes if size >= MIN_SUBSETS}


def _group_mean(outputs: np.ndarray, target: np.ndarray, size: int) -> np.ndarray:
    """Average the correlation over disjoint groups of `size` subsets, shape `(m,)`."""
    groups = outputs.shape[1] // size
    a, b = (x[:, : groups * size].reshape(len(x), groups, size) for x in (outputs, target))
    return spearman(a, b).mean(1)


def compute_difference(a: LDS, b: LDS) -> Difference:
    """Compute by how much the LDS of `a` exceeds that of `b`, with paired intervals.

    Both are evaluated on the same resampled subsets, so variation that they share cancels.

    Raises:
        DataError: if they have different subsets, queries or resamples.
    """
    if (a.subsets, a.seed, a.resampled.shape) != (b.subsets, b.seed, b.resampled.shape):
        raise DataError(
            f"Two LDS are compared on the same resamples; got {a.subsets} subsets, {a.queries} "
            f"queries, seed {a.seed} and {b.subsets} subsets, {b.queries} queries, seed {b.seed}."
        )
    gain = a.per_query - b.per_query
    return Difference(
        mean=float(gain.mean()),
        interval=basic_interval((a.resampled - b.resampled).mean(1), float(gain.mean())),
        query_interval=bootstrap_interval(gain, seed=a.seed),
    )
