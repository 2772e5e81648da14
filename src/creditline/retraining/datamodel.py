"""Datamodels: Ilyas et al., "Datamodels: Predicting Predictions from Training Data" (ICML 2022).

    loss of a subset ~ b + sum_{i in subset} w_i,   score(q, i) = -w_i

One linear regression per query from masks to losses. The penalty is chosen by cross-validation
among the subsets it is fitted on: for ridge by generalized leave-one-out, for each query apart;
for lasso by folds.

A ridge penalty only means something beside the spectrum of the masks, so it is given in units of
the mean squared norm of a centered mask.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.errors import DataError
from creditline.retraining.base import RetrainingMethod
from creditline.settings import require, setting

TOLERANCE = 1e-3
"""Of lasso fits: ten times that of scikit-learn, for speed."""


@dataclass
class RidgeDatamodel(RetrainingMethod):
    """Regression with squared weights penalized."""

    name: ClassVar = "datamodel"
    title: ClassVar = "Datamodel (ridge)"
    paper: ClassVar = "Ilyas et al., ICML 2022; ridge as in Zheng et al., ICLR 2024"
    formula: ClassVar = "−w_i of  loss(S) ≈ b + Σ_{i∈S} w_i,  penalty λ‖w‖²"
    needs: ClassVar = "retrained subsets, the more the better"
    cost: ClassVar = "one decomposition of the masks for all queries"
    least: ClassVar = 4

    penalties: tuple[float, ...] = setting(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        "ridge penalties to choose from, in units of the mean squared norm of a centered mask",
    )

    def __post_init__(self) -> None:
        _require_positive(self.penalties)

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import RidgeCV

        _require_different(masks)
        unit = float(((masks - masks.mean(0)) ** 2).sum(1).mean())
        alphas = np.array(self.penalties) * unit
        # Losses in units of their own spread: the choice must not depend on their scale.
        spread = losses.std(0)
        scaled = (losses - losses.mean(0)) / spread
        model = RidgeCV(alphas, alpha_per_target=True).fit(masks.astype(np.float64), scaled)
        self.penalty_ = np.asarray(model.alpha_).reshape(-1) / unit
        return -model.coef_.reshape(losses.shape[1], -1) * spread[:, None]


@dataclass
class LassoDatamodel(RetrainingMethod):
    """Regression with absolute weights penalized: most images get none."""

    name: ClassVar = "datamodel-lasso"
    title: ClassVar = "Datamodel (lasso)"
    paper: ClassVar = "Ilyas et al., ICML 2022"
    formula: ClassVar = "−w_i of  loss(S) ≈ b + Σ_{i∈S} w_i,  penalty λ‖w‖₁"
    needs: ClassVar = "retrained subsets, the more the better"
    cost: ClassVar = "a path of lasso fits per query and fold"
    least: ClassVar = 8

    ratios: tuple[float, ...] = setting(
        (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "lasso penalties to choose from, in units of the smallest that leaves no weight",
    )
    cv_folds: int = setting(5, "folds of subsets among which the penalty is chosen")

    def __post_init__(self) -> None:
        _require_positive(self.ratios)
        require(self.cv_folds >= 2, "cv_folds must be at least 2", self.cv_folds, "Try 5.")

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LassoCV

        _require_different(masks)
        inputs = np.asfortranarray(masks, dtype=np.float64)
        centered = inputs - inputs.mean(0)
        scores = np.empty((losses.shape[1], masks.shape[1]))
        for q, column in enumerate(losses.T):
            spread = column.std()
            target = (column - column.mean()) / spread
            largest = np.abs(centered.T @ target).max() / len(target)
            model = LassoCV(
                alphas=largest * np.sort(self.ratios)[::-1],
                cv=min(self.cv_folds, len(target)),
                precompute=False,
                tol=TOLERANCE,
            )
            with warnings.catch_warnings():
                # Small penalties on few subsets converge slowly and are not chosen.
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(inputs, target)
            scores[q] = -model.coef_ * spread
        return scores


def _require_different(masks: np.ndarray) -> None:
    if (masks == masks[0]).all():
        raise DataError(
            "All subsets hold the same images, so nothing can be learnt. Give masks of subsets "
            "that differ."
        )


def _require_positive(values: tuple[float, ...]) -> None:
    require(
        len(values) > 0 and all(np.isfinite(v) and v > 0 for v in values),
        "Penalties are one or more positive numbers",
        values,
        "Leave them out for the default grid.",
    )
