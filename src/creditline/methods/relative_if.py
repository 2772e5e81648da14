"""Relative influence: Barshan et al., "RelatIF" (AISTATS 2020), on TRAK's features.

    score(q, i) = TRAK(q, i) / |(Phi^T Phi + lambda I)^-1 phi_i|

Settings: as TRAK, with each column divided by how far removing the image would move the parameters,
so that outliers which move everything are not everybody's proponents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.methods.ridge_method import RidgeMethod


@dataclass
class RelativeIF(RidgeMethod):
    """TRAK relative to the image's effect on the parameters."""

    name: ClassVar = "relative-if"
    title: ClassVar = "Relative IF"
    paper: ClassVar = "Barshan et al., AISTATS 2020"
    formula: ClassVar = "TRAK(q, i) / ‖(ΦᵀΦ + λI)⁻¹ φ_i‖"
    needs: ClassVar = "a model; shares TRAK's index"
    cost: ClassVar = "as TRAK, one more pass over the features"

    def column_scale(self, model: int) -> np.ndarray | float:
        squares = self.spectra_[model].quadratic(self.features_, model, self.damping_[model], 2)
        # An image whose feature is the mean moves nothing and scores zero against everything.
        return 1.0 / np.sqrt(np.where(squares > 0, squares, np.inf))
