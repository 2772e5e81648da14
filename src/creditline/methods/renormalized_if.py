"""Renormalized influence: Hammoudeh and Lowd (2022), on TRAK's features.

    score(q, i) = TRAK(q, i) / |phi_i|

Settings: as TRAK, with each column divided by the norm of the image's own feature, which is
centered when the ridge centers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.curvature.variation import positive_lengths
from creditline.methods.ridge_method import RidgeMethod


@dataclass
class RenormalizedIF(RidgeMethod):
    """TRAK relative to the norm of the training image's gradient."""

    name: ClassVar = "renormalized-if"
    title: ClassVar = "Renormalized IF"
    paper: ClassVar = "Hammoudeh and Lowd, CCS 2022"
    formula: ClassVar = "TRAK(q, i) / ‖φ_i‖"
    needs: ClassVar = "a model; shares TRAK's index"
    cost: ClassVar = "as TRAK"

    def column_scale(self, model: int) -> np.ndarray | float:
        spectrum = self.spectra_[model]
        squares = spectrum.quadratic(self.features_, model, self.damping_[model], 0)
        return 1.0 / positive_lengths(np.sqrt(squares), spectrum.mean)
