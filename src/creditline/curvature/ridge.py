"""Ridge settings: how much is added to the spectrum before it is inverted, and relative to what.

The kernel's spectrum spans many orders of magnitude and its scale depends on the objective's
reduction, so an absolute damping means nothing across models. Relative to the mean eigenvalue of
the *centered* features one number serves TRAK and D-TRAK alike: nearly all of D-TRAK's trace lies
in a direction common to all images, which centering removes. The default was chosen on one
benchmark and judged on another (docs/benchmarks.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.bounds import NOT_NEGATIVE
from creditline.errors import NumericsError
from creditline.settings import setting, validate_settings

SAFETY = 100.0


@dataclass(frozen=True)
class Ridge:
    """Damping `lambda` of `(Phi^T Phi + lambda I)^-1`; the kernel is not divided by n.

    Raises:
        SettingsError: on a negative or non-finite damping or an unknown reference.
    """

    damping: float = setting(3.0, "damping, in units of `relative_to`", bounds=NOT_NEGATIVE)
    relative_to: Literal["mean", "median", "absolute"] = setting(
        "mean", "unit of the damping: mean or median eigenvalue of the kernel, or 1"
    )
    center: bool = setting(True, "subtract the mean training feature from both sides first")

    def __post_init__(self) -> None:
        validate_settings(self)

    def absolute(self, eigenvalues: np.ndarray) -> float:
        """Convert the damping to the kernel's units.

        Args:
            eigenvalues: of the smaller of the two Gram matrices, float64, ascending.

        Raises:
            NumericsError: below `100 eps lambda_max`, where rounding dominates the result in
                float64; the message has the numbers.
        """
        largest = float(eigenvalues[-1])
        positive = eigenvalues[eigenvalues > np.finfo(np.float64).eps * largest * len(eigenvalues)]
        if not len(positive):
            raise NumericsError(
                "All features are the same, so the kernel is zero after centering. Check that the "
                "training images differ and that the objective depends on the parameters."
            )
        unit = {
            "mean": float(eigenvalues.mean()),
            "median": float(np.median(positive)),
            "absolute": 1.0,
        }[self.relative_to]
        value = self.damping * unit
        floor = SAFETY * float(np.finfo(np.float64).eps) * largest
        if value < floor:
            raise NumericsError(
                f"Damping {value:.3g} is below {floor:.3g}, that is {SAFETY:.0f} x machine "
                f"epsilon x the largest eigenvalue {largest:.3g}: the result would be rounding "
                f"error. Smallest safe damping here: {floor / unit:.3g} x {self.relative_to}."
            )
        return value
