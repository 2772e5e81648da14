"""Whether features differ by more than rounding: what is inverted or divided by must."""

from __future__ import annotations

import numpy as np

from creditline.errors import NumericsError

ROUNDING = 64 * float(np.finfo(np.float32).eps)
"""Length of a centered feature, relative to the mean feature, that rounding alone can make.

Gradients and stored features are float32. Sums over a network's elements in another order differ
by a few units in the last place.
"""


def require_variation(centered: float, mean: float) -> None:
    """Refuse features that are the same but for rounding.

    Args:
        centered: sum of the squared lengths of the centered features.
        mean: squared length of their mean, times their number; 0 if they were not centered.

    Raises:
        NumericsError: with what to check.
    """
    if centered <= ROUNDING**2 * mean:
        raise NumericsError(
            f"All features are the same but for rounding: centered, they are "
            f"{np.sqrt(centered / mean) if mean else 0:.1e} of their mean's length. Their "
            "directions mean nothing. Check that the training images differ and that the "
            "objective depends on the parameters."
        )


def positive_lengths(lengths: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Return lengths to divide by, those of zero vectors infinite, so that quotients are zero.

    Args:
        lengths: of features, shape `(n,)`.
        mean: that was subtracted from them, if any; what is left of an equal feature is rounding.
    """
    floor = 0.0 if mean is None else ROUNDING * float(np.linalg.norm(mean))
    return np.where(lengths > floor, lengths, np.inf)
