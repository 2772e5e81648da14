"""Ridge scores of the model without an image instead of with it: divided by one minus leverage."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from creditline.methods.ridge_method import RidgeMethod


@dataclass
class LeverageRidge(RidgeMethod):
    """`phi_q^T H^-1 phi_i / (1 - h_i)` with `H = Phi^T Phi + lambda I`, `h_i = phi_i^T H^-1 phi_i`.

    Times the residual of image `i` that is exactly how much the prediction at `q` of a ridge
    regression falls when image `i` is left out (Sherman and Morrison, 1950).

    Attributes:
        with_leverage: divide at all.
    """

    with_leverage: bool = field(default=True, kw_only=True)

    def column_scale(self, model: int) -> np.ndarray | float:
        if not self.with_leverage:
            return 1.0
        leverage = self.spectra_[model].quadratic(self.features_, model, self.damping_[model], 1)
        return 1.0 / (1.0 - np.minimum(leverage, 1.0 - np.finfo(np.float64).eps))
