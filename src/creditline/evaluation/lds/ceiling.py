"""The ceiling of LDS: how well retrained models with one seed predict those with another.

Losses differ between training seeds for reasons that no attribution can know. Two numbers bound
the LDS that is possible:

    seed to seed  r, the LDS of the losses of one seed against those of another
    mean to mean  S r / (1 + (S - 1) r), the same between means over S seeds (Spearman, 1910;
                  Brown, 1910)

Methods are evaluated against the mean over S seeds. Their share is therefore given relative to
`mean_to_mean`, the score of a second set of retrained models of the same size. A predictor without
noise can reach the square root of this value.
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
    count_draws,
)
from creditline.evaluation.lds.correlation import resampled_spearman, spearman
from creditline.methods.subset_losses import subset_losses


@dataclass(frozen=True, eq=False)
class Ceiling:
    """Agreement between training seeds.

    Attributes:
        per_query: seed-to-seed correlation, mean over pairs of seeds, shape `(m,)`.
        resampled: the same on bootstrap resamples of the subsets, shape `(R, m)`.
        seeds: number of training seeds, S.
        seed: seed of the resamples.
    """

    per_query: np.ndarray
    resampled: np.ndarray
    seeds: int
    seed: int

    @property
    def seed_to_seed(self) -> float:
        """The mean seed-to-seed correlation over queries."""
        return float(self.per_query.mean())

    @property
    def mean_to_mean(self) -> float:
        """The correlation between means over S seeds, by the Spearman-Brown formula."""
        return spearman_brown(self.seed_to_seed, self.seeds)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of `seed_to_seed` over subsets, with fixed queries."""
        low, high = basic_interval(self.resampled.mean(1), self.seed_to_seed)
        return max(-1.0, low), min(1.0, high)

    @property
    def query_interval(self) -> Interval:
        """The 95 % interval of `seed_to_seed` over queries, with fixed subsets."""
        return bootstrap_interval(self.per_query, seed=self.seed)

    def share(self, value: float) -> float | None:
        """Return an LDS as a share of `mean_to_mean`; None where seeds do not agree."""
        return value / self.mean_to_mean if self.seed_to_seed > 0 else None

    def select(self, queries: Sequence[int] | slice) -> Self:
        """Return the ceiling of some of the queries."""
        rows = queries if isinstance(queries, slice) else list(queries)
        return type(self)(self.per_query[rows], self.resampled[:, rows], self.seeds, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the resamples as JSON-ready values."""
        return {
            "seeds": self.seeds,
            "seed_to_seed": self.seed_to_seed,
            "mean_to_mean": self.mean_to_mean,
            "interval_over_subsets": list(self.interval),
            "interval_over_queries": list(self.query_interval),
            "per_query": self.per_query.tolist(),
        }


def compute_ceiling(
    losses: np.ndarray,
    *,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Ceiling:
    """Compute how well training seeds agree.

    Args:
        losses: shape `(M, S, m)` with at least 2 seeds.
        query_names: names of the queries, for error messages.
        resamples: number of bootstrap resamples of the subsets.
        seed: seed of the resamples.

    Raises:
        DataError: if there is only one seed, or for the reasons of `subset_losses`.
    """
    values = subset_losses(losses, query_names=query_names)
    if values.shape[1] < 2:
        raise DataError(
            "A ceiling compares models trained with different seeds; the losses have 1 seed. "
            "Retrain every subset with at least 2 seeds."
        )
    draws = count_draws(len(values), resamples, seed)
    by_seed = values.transpose(1, 2, 0)
    pairs = list(combinations(by_seed, 2))
    return Ceiling(
        per_query=np.mean([spearman(a, b) for a, b in pairs], axis=0),
        resampled=np.mean([resampled_spearman(a, b, draws) for a, b in pairs], axis=0),
        seeds=len(by_seed),
        seed=seed,
    )


def spearman_brown(correlation: float, times: int) -> float:
    """Compute the correlation between means of `times` measurements from that of single ones.

    A negative correlation is chance around zero and is returned unchanged.
    """
    if correlation <= 0:
        return correlation
    return times * correlation / (1 + (times - 1) * correlation)
