"""Relative influence: Barshan et al., "RelatIF" (AISTATS 2020), on TRAK's features.

    score(q, i) = TRAK(q, i) / |(Phi^T Phi + lambda I)^-1 phi_i|

Settings: as TRAK, with each column divided by how far removing the image would move the parameters,
so that outliers which move everything are not everybody's proponents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.curvature.variation import positive_lengths
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
        spectrum, damping = self.spectra_[model], self.damping_[model]
        lengths, moves = np.sqrt(spectrum.quadratics(self.features_, model, damping, (0, 2)))
        # An image whose feature is the mean moves nothing and scores zero against everything.
        is_mean = np.isinf(positive_lengths(lengths, spectrum.mean))
        return 1.0 / np.where(is_mean | (moves == 0), np.inf, moves)
