"""LDS of totals per contributor: is a method right about who matters, not only about what?

A subset is predicted from totals alone: each contributor's sum of scores, times the share of their
images that is in the subset. Where subsets leave out whole contributors this is the sum of the
totals of those who stay, hence plain LDS; where they draw images, differences between images of
one contributor no longer count. Images without a contributor count together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.evaluation.lds.score import predict_outputs
from creditline.retraining.arrays import subset_masks

ROUNDING = 1e-12


def predict_from_totals(
    scores: np.ndarray, masks: np.ndarray, contributors: Sequence[str | None]
) -> np.ndarray:
    """Output of each subset as predicted from totals, float64 of shape `(m, M)`."""
    belongs = _membership(contributors)
    means = np.asarray(scores, dtype=np.float64) @ belongs / belongs.sum(0)
    return predict_outputs(means @ belongs.T, masks)


def has_varying_shares(masks: np.ndarray, contributors: Sequence[str | None]) -> bool:
    """Whether some contributor has a larger share in one subset than in another.

    Raises:
        DataError: if the masks are not of the contributors' images.
    """
    belongs = _membership(contributors)
    if belongs.shape[1] < 2:
        return False
    shares = subset_masks(masks, len(contributors)) @ belongs / belongs.sum(0)
    return bool(np.ptp(shares, axis=0).max() > ROUNDING)


def _membership(contributors: Sequence[str | None]) -> np.ndarray:
    """Which contributor each image is of, float64 of shape `(n, contributors)`."""
    names, group = np.unique([c or "" for c in contributors], return_inverse=True)
    return np.eye(len(names))[group]
