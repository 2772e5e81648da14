"""Judging methods that learn from retrained models: never on the subsets they learnt from.

Subsets are dealt into folds. A method is fitted on all folds but one and predicts the outputs of
that one; each fold is ranked by itself, because predictions from different fits have different
offsets, and the correlations are averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.evaluation.interval import RESAMPLES
from creditline.evaluation.lds.score import LDS, predict_outputs, score_outputs
from creditline.retraining.arrays import MIN_SUBSETS, subset_losses, subset_masks
from creditline.retraining.base import RetrainingMethod
from creditline.settings import require

FOLDS = 4


@dataclass(frozen=True, eq=False)
class HeldOutFits:
    """A retraining method, fitted once for each fold on all others.

    Attributes:
        masks: all subsets, shape `(M, n)`.
        losses: of all subsets, shape `(M, S, m)`.
        folds: positions of the subsets that each fit has not seen.
        scores: of each fit, `(m, n)`.
    """

    masks: np.ndarray
    losses: np.ndarray
    folds: tuple[np.ndarray, ...]
    scores: tuple[np.ndarray, ...]

    def outputs(self, shaped: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
        """What is predicted of each subset by the fit that has not seen it, `(m, M)`.

        Args:
            shaped: what becomes of scores before they are summed; as they are by default.
        """
        found = np.empty((len(self.scores[0]), len(self.masks)))
        for fold, scores in zip(self.folds, self.scores, strict=True):
            chosen = scores if shaped is None else shaped(scores)
            found[:, fold] = predict_outputs(chosen, self.masks[fold])
        return found

    def judged(self, outputs: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> LDS:
        """The score of what `outputs` returned; every fold is ranked by itself."""
        return score_outputs(outputs, self.losses, folds=self.folds, resamples=resamples, seed=seed)


def fit_folds(
    method: Callable[[], RetrainingMethod],
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    folds: int | None = None,
    query_names: Sequence[str] | None = None,
    seed: int = 0,
) -> HeldOutFits:
    """Fit a retraining method without the subsets that it will be judged by.

    Args:
        method: makes an unfitted method: its class, or a function with settings of its own.
        masks: shape `(M, n)`.
        losses: shape `(M, m)` or `(M, S, m)`.
        folds: how many; 4, or as many as leave 8 subsets in each.
        query_names: of the queries, for errors.
        seed: of the deal.

    Raises:
        SettingsError: if the folds would hold fewer than 8 subsets each.
        DataError: as `lds` and as the method's `fit`.
    """
    masks = subset_masks(masks)
    losses = subset_losses(losses, len(masks), query_names)
    folds = default_folds(len(masks)) if folds is None else folds
    require(
        folds >= 2 and len(masks) // folds >= MIN_SUBSETS,
        f"Folds are at least 2, with {MIN_SUBSETS} or more of {len(masks)} subsets in each",
        folds,
        f"Use fewer folds, or a ground truth of at least {2 * MIN_SUBSETS} subsets.",
    )
    groups, scores = [], []
    for group in split_evenly(len(masks), folds, seed):
        rest = np.setdiff1d(np.arange(len(masks)), group)
        groups.append(group)
        scores.append(method().fit(masks[rest], losses[rest]).attribute())
    return HeldOutFits(masks, losses, tuple(groups), tuple(scores))


def held_out_lds(
    method: Callable[[], RetrainingMethod],
    masks: np.ndarray,
    losses: np.ndarray,
    *,
    folds: int | None = None,
    query_names: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> LDS:
    """LDS of a retraining method on subsets that it has not seen.

    Args:
        method, masks, losses, folds, query_names: as `held_out`.
        resamples: bootstrap draws.
        seed: of the draws and of the deal.

    Raises:
        SettingsError, DataError: as `held_out`.
    """
    fits = fit_folds(method, masks, losses, folds=folds, query_names=query_names, seed=seed)
    return fits.judged(fits.outputs(), resamples=resamples, seed=seed)


def default_folds(subsets: int) -> int:
    """4, or as many as leave 8 subsets in each."""
    return min(FOLDS, subsets // MIN_SUBSETS)


def has_constant_images(masks: np.ndarray, seed: int = 0) -> bool:
    """Whether some image is in all or in none of the subsets that a fold of `held_out_lds` fits.

    Empirical influence cannot learn there: one side of its difference is empty.

    Args:
        masks: bool of shape `(M, n)`, of at least 16 subsets.
        seed: as given to `held_out_lds`.
    """
    for group in split_evenly(len(masks), default_folds(len(masks)), seed):
        fitted = np.delete(masks, group, axis=0)
        if (fitted.all(0) | ~fitted.any(0)).any():
            return True
    return False


def split_evenly(n: int, parts: int, seed: int = 0) -> list[np.ndarray]:
    """Positions 0 to n - 1 in random groups whose sizes differ by one at most, each ascending."""
    order = np.random.default_rng((seed, n, parts)).permutation(n)
    return [np.sort(order[i::parts]) for i in range(parts)]
