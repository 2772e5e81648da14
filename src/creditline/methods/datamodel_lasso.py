"""Datamodel with an absolute penalty: Ilyas et al., "Datamodels" (ICML 2022).

    loss of a subset ~ b + sum_{i in subset} w_i,   score(q, i) = -w_i

One linear regression per query from masks to losses. The penalty is selected by cross-validation
over folds of the subsets that it is fitted on.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.bounds import POSITIVE, Bounds
from creditline.methods.regression_checks import require_different_subsets
from creditline.methods.subset_method import SubsetAttributor
from creditline.settings import setting

TOLERANCE = 1e-3
"""Of lasso fits: ten times that of scikit-learn, for speed."""


@dataclass
class LassoDatamodel(SubsetAttributor):
    """Linear regression from subsets to losses with an absolute penalty; most weights are zero."""

    name: ClassVar = "datamodel-lasso"
    title: ClassVar = "Datamodel (lasso)"
    paper: ClassVar = "Ilyas et al., ICML 2022"
    formula: ClassVar = "−w_i of  loss(S) ≈ b + Σ_{i∈S} w_i,  penalty λ‖w‖₁"
    needs: ClassVar = "models retrained on subsets, the more the better"
    cost: ClassVar = "a path of lasso fits per query and fold"
    least: ClassVar = 8

    ratios: tuple[float, ...] = setting(
        (0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
        "lasso penalties to choose from, in units of the smallest that leaves no weight",
        bounds=POSITIVE,
    )
    cv_folds: int = setting(
        5, "folds of subsets among which the penalty is chosen", bounds=Bounds(2)
    )

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LassoCV

        require_different_subsets(masks)
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
