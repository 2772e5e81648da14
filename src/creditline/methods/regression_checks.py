"""Checks that datamodels share."""

from __future__ import annotations

import numpy as np

from creditline.errors import DataError


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
