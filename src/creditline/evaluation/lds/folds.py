"""Cross-validated LDS of methods that learn from retrained models.

The subsets are split into folds. A method is fitted on all folds but one and predicts the outputs
of the remaining fold. Each fold is ranked separately, because predictions of different fits have
different offsets; the correlations are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.score import LDS, predict_outputs, score_outputs
from creditline.methods.fit_context import FitContext
from creditline.methods.subset_losses import (
    MIN_SUBSETS,
    SubsetLosses,
    subset_losses,
    subset_masks,
)
from creditline.methods.subset_method import SubsetAttributor
from creditline.settings import require

FOLDS = 4


@dataclass(frozen=True, eq=False)
class HeldOutFits:
    """A subset method that was fitted once for each fold, on all other folds.

    Attributes:
        masks: masks of all subsets, shape `(M, n)`.
        losses: losses of all subsets, shape `(M, S, m)`.
        folds: positions of the subsets that each fit has not seen.
        scores: scores of each fit, shape `(m, n)`.
    """

    masks: np.ndarray
    losses: np.ndarray
    folds: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]

    def outputs(self, transform: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """Predict each subset by the fit that has not seen it, float64 of shape `(m, M)`.

        Args:
            transform: applied to each fit's scores before they are summed; none by default.
        """
        outputs = np.empty((len(self.scores[0]), len(self.masks)))
        for fold, scores in zip(self.folds, self.scores, strict=True):
            values = scores if transform is None else transform(scores)
            outputs[:, fold] = predict_outputs(values, self.masks[fold])
        return outputs

    def lds(self, outputs: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> LDS:
        """Compute the LDS of what `outputs` returned; every fold is ranked separately."""
        return score_outputs(outputs, self.losses, folds=self.folds, resamples=resamples, seed=seed)


def fit_folds(
    method: Callable[[], SubsetAttributor],
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    folds: int | None = None,
    query_names: Sequence[str] | None = None,
    seed: int = 0,
) -> HeldOutFits:
    """Fit a subset method once for each fold, on all other folds.

    Args:
        method: function that returns an unfitted method, such as its class.
        masks: shape `(M, n)`.
        losses: shape `(M, m)` or `(M, S, m)`.
        folds: number of folds; by default 4, or fewer if a fold would have under 8 subsets.
        query_names: names of the queries, for error messages.
        seed: seed of the folds.

    Raises:
        SettingsError: if a fold would have fewer than 8 subsets.
        DataError: for the reasons of `lds` and of the method's `fit`.
    """
    masks = subset_masks(masks)
    losses = subset_losses(losses, len(masks), query_names)
    folds = default_folds(len(masks)) if folds is None else folds
    require(
        folds >= 2 and len(masks) // folds >= MIN_SUBSETS,
        f"Use at least 2 folds with {MIN_SUBSETS} or more of {len(masks)} subsets in each",
        folds,
        f"Use fewer folds, or a ground truth of at least {2 * MIN_SUBSETS} subsets.",
    )
    groups, scores = [], []
    for group in split_evenly(len(masks), folds, seed):
        rest = np.setdiff1d(np.arange(len(masks)), group)
        groups.append(group)
        scores.append(
            method().fit(FitContext(subsets=SubsetLosses(masks[rest], losses[rest]))).scores_
        )
    return HeldOutFits(masks, losses, tuple(groups), tuple(scores))


def compute_held_out_lds(
    method: Callable[[], SubsetAttributor],
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    folds: int | None = None,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LDS:
    """Compute the LDS of a subset method on held-out subsets.

    Args:
        method, masks, losses, folds, query_names: see `fit_folds`.
        resamples: number of bootstrap resamples of the subsets.
        seed: seed of the resamples and of the folds.

    Raises:
        SettingsError, DataError: for the reasons of `fit_folds`.
    """
    fits = fit_folds(method, masks, losses, folds=folds, query_names=query_names, seed=seed)
    return fits.lds(fits.outputs(), resamples=resamples, seed=seed)


def default_folds(subsets: int) -> int:
    """Return the default number of folds: 4, or fewer if a fold would have under 8 subsets."""
    return min(FOLDS, subsets // MIN_SUBSETS)


def has_constant_images(masks: np.ndarray, seed: int = 0) -> bool:
    """Whether an image is in all or in none of the subsets that `fit_folds` fits on.

    Empirical influence is undefined there: one of its two means is empty.

    Args:
        masks: bool of shape `(M, n)` with at least 16 subsets.
        seed: seed of the folds.
    """
    for group in split_evenly(len(masks), default_folds(len(masks)), seed):
        remaining = np.delete(masks, group, axis=0)
        if (remaining.all(0) | ~remaining.any(0)).any():
            return True
    return False


def split_evenly(n: int, groups: int, seed: int = 0) -> list[np.ndarray]:
    """Split positions 0 to n - 1 into random groups of equal size or one more, each ascending."""
    order = np.random.default_rng((seed, n, groups)).permutation(n)
    return [np.sort(order[i::groups]) for i in range(groups)]
