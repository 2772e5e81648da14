"""The ceiling: how well one retraining predicts another with a different seed.

Losses differ between seeds for reasons that no attribution can know. Two numbers bound what can be
asked:

    seed to seed    r, the LDS that the losses of one seed have against those of another
    fleet to fleet  S r / (1 + (S - 1) r), the same between averages of S seeds (Spearman, 1910;
                    Brown, 1910)

Methods are judged against the average over S seeds, so `mean_to_mean` is the ceiling that their
share is given of: what a second fleet of the same size would score. A predictor without any noise
of its own could score up to its square root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
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
from creditline.retraining.arrays import subset_losses


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Agreement of seeds.

    Attributes:
        per_query: seed to seed, mean over pairs of seeds, shape `(m,)`.
        resampled: the same on resamples of the subsets, shape `(R, m)`.
        seeds: S.
        seed: of the resamples.
    """

    per_query: np.ndarray
    resampled: np.ndarray
    seeds: int
    seed: int

    @property
    def seed_to_seed(self) -> float:
        """Mean over queries."""
        return float(self.per_query.mean())

    @property
    def mean_to_mean(self) -> float:
        """Stepped up to averages of S seeds, from the mean over queries."""
        return spearman_brown(self.seed_to_seed, self.seeds)

    @property
    def interval(self) -> Interval:
        """95 % interval of `seed_to_seed` over all possible subsets."""
        low, high = basic_interval(self.resampled.mean(1), self.seed_to_seed)
        return max(-1.0, low), min(1.0, high)

    @property
    def query_interval(self) -> Interval:
        """95 % interval of `seed_to_seed` over other queries."""
        return bootstrap_interval(self.per_query, seed=self.seed)

    def share(self, value: float) -> float | None:
        """An LDS as a share of `mean_to_mean`; None where seeds do not agree at all."""
        return value / self.mean_to_mean if self.seed_to_seed > 0 else None

    def part(self, rows: Sequence[int] | slice) -> Self:
        """The ceiling of some of the queries."""
        keep = rows if isinstance(rows, slice) else list(rows)
        return type(self)(self.per_query[keep], self.resampled[:, keep], self.seeds, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the resamples, JSON-ready."""
        return {
            "seeds": self.seeds,
            "seed_to_seed": self.seed_to_seed,
            "mean_to_mean": self.mean_to_mean,
            "interval_over_subsets": list(self.interval),
            "interval_over_queries": list(self.query_interval),
            "per_query": self.per_query.tolist(),
        }


def ceiling(
    losses: np.ndarray,
    *,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ceiling:
    """How well seeds agree.

    Args:
        losses: shape `(M, S, m)` with S of at least 2.
        query_names: of the queries, for errors.
        resamples, seed: of the bootstrap over subsets.

    Raises:
        DataError: if there is one seed only, or as `subset_losses`.
    """
    values = subset_losses(losses, query_names=query_names)
    if values.shape[1] < 2:
        raise DataError(
            "A ceiling compares trainings with different seeds; the losses are of 1 seed. Retrain "
            "every subset with at least 2."
        )
    draws = counts(len(values), resamples, seed)
    by_seed = values.transpose(1, 2, 0)
    pairs = list(combinations(by_seed, 2))
    return Ceiling(
        per_query=np.mean([spearman(a, b) for a, b in pairs], axis=0),
        resampled=np.mean([resampled_spearman(a, b, draws) for a, b in pairs], axis=0),
        seeds=len(by_seed),
        seed=seed,
    )


def spearman_brown(correlation: float, times: int) -> float:
    """Spearman-Brown: the agreement of averages of `times` from that of single ones.

    Negative agreement is chance around zero and stays as it is.
    """
    if correlation <= 0:
        return correlation
    return times * correlation / (1 + (times - 1) * correlation)
