"""LDS: do a method's scores predict what happens when the model is retrained on a subset?

Linear datamodeling score (Park et al., ICML 2023). The predicted output of a subset is the sum of
the scores of its images; the score of a query is Spearman's correlation over subsets between
predicted outputs and the negative loss that retraining found, averaged over training seeds. More
is better: 1 ranks all subsets rightly, 0 is chance.

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
    counts,
)
from creditline.evaluation.lds.correlation import resampled_spearman, spearman
from creditline.retraining.arrays import MIN_SUBSETS, subset_losses, subset_masks

QUANTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True, eq=False)
class LDS:
    """The score of one method on one ground truth.

    Attributes:
        per_query: of each query, float64 of shape `(m,)`.
        resampled: the same on each bootstrap resample of the subsets, shape `(R, m)`.
        subsets: M.
        seed: of the resamples; equal seeds draw the same subsets, which pairs two methods.
        convergence: of each query from fewer subsets: number of subsets to the mean over disjoint
            groups of so many, shape `(m,)`.
    """

    per_query: np.ndarray
    resampled: np.ndarray
    subsets: int
    seed: int
    convergence: Mapping[int, np.ndarray]

    @property
    def queries(self) -> int:
        """How many queries."""
        return len(self.per_query)

    @property
    def mean(self) -> float:
        """The point estimate: mean over queries."""
        return float(self.per_query.mean())

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean over all possible subsets, queries held: basic bootstrap."""
        low, high = basic_interval(self.resampled.mean(1), self.mean)
        return max(-1.0, low), min(1.0, high)

    @property
    def query_interval(self) -> Interval:
        """95 % interval of the mean over other queries, subsets held."""
        return bootstrap_interval(self.per_query, seed=self.seed)

    @property
    def paper(self) -> tuple[float, float]:
        """Mean and standard deviation of the bootstrap over subsets, as D-TRAK's tables print.

        Lower than the point estimate, because a subset drawn twice is a tie.
        """
        means = self.resampled.mean(1)
        return float(means.mean()), float(means.std())

    @property
    def quantiles(self) -> dict[int, float]:
        """How the score is spread over queries: percent to value."""
        values = np.percentile(self.per_query, QUANTILES)
        return dict(zip(QUANTILES, values.tolist(), strict=True))

    def part(self, rows: Sequence[int] | slice) -> Self:
        """The score on some of the queries."""
        keep = rows if isinstance(rows, slice) else list(rows)
        fewer = {size: values[keep] for size, values in self.convergence.items()}
        return type(self)(
            self.per_query[keep], self.resampled[:, keep], self.subsets, self.seed, fewer
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the resamples, JSON-ready."""
        return {
            "lds": self.mean,
            "interval_over_subsets": list(self.interval),
            "interval_over_queries": list(self.query_interval),
            "bootstrap_mean_and_std": list(self.paper),
            "quantiles": {str(k): v for k, v in self.quantiles.items()},
            "convergence": {str(k): float(v.mean()) for k, v in self.convergence.items()},
            "per_query": self.per_query.tolist(),
        }


@dataclass(frozen=True)
class Difference:
    """How much one method is better than another.

    Attributes:
        mean: of the per-query differences.
        interval: 95 % over all subsets, both methods judged on the same draws.
        query_interval: 95 % over other queries.
    """

    mean: float
    interval: Interval
    query_interval: Interval


def lds(
    scores: np.ndarray,
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LDS:
    """Judge a score matrix by a ground truth of retrained models.

    Args:
        scores: shape `(m, n)`, positive where training on the image lowers the query's loss.
        masks: shape `(M, n)`, true where the image was in the subset.
        losses: shape `(M, m)` or `(M, S, m)`; seeds are averaged.
        query_names: of the queries, for errors.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        The score of every query, and what follows from it. A query for which all subsets are
        predicted alike scores 0.

    Raises:
        DataError: if shapes do not match, a score or loss is not finite, a query's loss is the
            same under all subsets, or there are fewer than 8 subsets.
    """
    outputs = predict_outputs(scores, masks)
    return score_outputs(outputs, losses, query_names=query_names, resamples=resamples, seed=seed)


def predict_outputs(scores: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Predicted output of each subset, float64 of shape `(m, M)`: the sum of its images' scores.

    Raises:
        DataError: if the scores have another number of images than the masks.
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
    """LDS of predicted outputs, for methods that predict without being linear in the images.

    Args:
        outputs: predicted output of every subset, shape `(m, M)`; more is a lower loss.
        losses: shape `(M, m)` or `(M, S, m)`.
        query_names: of the queries, for errors.
        folds: groups of subsets that are ranked apart, their correlations averaged; for
            predictions by models that were fitted without them, whose offsets differ.
        resamples, seed: of the bootstrap.

    Raises:
        DataError: as `lds`.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    target = subset_losses(losses, outputs.shape[-1], query_names).mean(1)
    if outputs.shape != target.T.shape:
        raise DataError(
            f"There are scores of {len(outputs)} queries and losses of {target.shape[1]}. Give "
            "the same queries to both, in the same order."
        )
    bad = ~np.isfinite(outputs).all(1)
    if bad.any():
        raise DataError(
            f"The scores of {int(bad.sum())} of {len(bad)} queries are not finite, first query "
            f"{int(np.argmax(bad))}. Mend the features that they come from."
        )
    subsets = len(target)
    draws = counts(subsets, resamples, seed)
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
    """LDS from an eighth, a quarter, half and all of the subsets, averaged over disjoint groups."""
    subsets = outputs.shape[1]
    sizes = (subsets // parts for parts in (8, 4, 2, 1))
    return {size: _grouped(outputs, target, size) for size in sizes if size >= MIN_SUBSETS}


def _grouped(outputs: np.ndarray, target: np.ndarray, size: int) -> np.ndarray:
    groups = outputs.shape[1] // size
    a, b = (x[:, : groups * size].reshape(len(x), groups, size) for x in (outputs, target))
    return spearman(a, b).mean(1)


def lds_difference(a: LDS, b: LDS) -> Difference:
    """How much better `a` is than `b`, with intervals of the difference itself.

    The two are judged on the same resampled subsets, so what both find hard cancels.

    Raises:
        DataError: if they were judged on other subsets, queries or draws.
    """
    if (a.subsets, a.seed, a.resampled.shape) != (b.subsets, b.seed, b.resampled.shape):
        raise DataError(
            f"Two scores are compared on the same draws; got {a.subsets} subsets, {a.queries} "
            f"queries, seed {a.seed} and {b.subsets} subsets, {b.queries} queries, seed {b.seed}."
        )
    gain = a.per_query - b.per_query
    return Difference(
        mean=float(gain.mean()),
        interval=basic_interval((a.resampled - b.resampled).mean(1), float(gain.mean())),
        query_interval=bootstrap_interval(gain, seed=a.seed),
    )
