"""Checks that datamodels share."""

from __future__ import annotations

import numpy as np

from creditline.errors import DataError
from creditline.settings import require


def require_different_subsets(masks: np.ndarray) -> None:
    """Refuse masks of which no regression can be taken.

    Raises:
        DataError: if all are the same.
    """
    if (masks == masks[0]).all():
        raise DataError(
            "All subsets hold the same images, so no effect can be estimated. Give masks of "
            "subsets that differ."
        )


def require_positive(values: tuple[float, ...]) -> None:
    """Refuse a grid of penalties with values that are not positive.

    Raises:
        SettingsError: naming the grid.
    """
    require(
        len(values) > 0 and all(np.isfinite(v) and v > 0 for v in values),
        "Penalties are one or more positive numbers",
        values,
        "Leave them out for the default grid.",
    )
