"""Datamodel with a squared penalty: Ilyas et al. (ICML 2022); Zheng et al. (ICLR 2024).

    loss of a subset ~ b + sum_{i in subset} w_i,   score(q, i) = -w_i

One linear regression per query from masks to losses. The penalty is selected for each query by
generalized leave-one-out cross-validation among the subsets that it is fitted on.

A penalty is only comparable relative to the spectrum of the masks, so its unit is the mean squared
norm of a centered mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.bounds import POSITIVE
from creditline.methods.regression_checks import require_different_subsets
from creditline.methods.subset_method import SubsetAttributor
from creditline.settings import setting


@dataclass
class RidgeDatamodel(SubsetAttributor):
    """Linear regression from subsets to losses with a squared penalty."""

    name: ClassVar = "datamodel"
    title: ClassVar = "Datamodel (ridge)"
    paper: ClassVar = "Ilyas et al., ICML 2022; ridge as in Zheng et al., ICLR 2024"
    formula: ClassVar = "−w_i of  loss(S) ≈ b + Σ_{i∈S} w_i,  penalty λ‖w‖²"
    needs: ClassVar = "models retrained on subsets, the more the better"
    cost: ClassVar = "one decomposition of the masks for all queries"
    least: ClassVar = 4

    penalties: tuple[float, ...] = setting(
        (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
        "ridge penalties to choose from, in units of the mean squared norm of a centered mask",
        bounds=POSITIVE,
    )

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import RidgeCV

        require_different_subsets(masks)
        unit = float(((masks - masks.mean(0)) ** 2).sum(1).mean())
        alphas = np.array(self.penalties) * unit
        # Losses in units of their own spread: the choice must not depend on their scale.
        spread = losses.std(0)
        scaled = (losses - losses.mean(0)) / spread
        model = RidgeCV(alphas, alpha_per_target=True).fit(masks.astype(np.float64), scaled)
        self.penalty_ = np.asarray(model.alpha_).reshape(-1) / unit
        return -model.coef_.reshape(losses.shape[1], -1) * spread[:, None]
