"""LDS of totals per contributor.

The output of a subset is predicted from totals alone: the sum of scores of each contributor, times
the share of the contributor's images that is in the subset. Where subsets leave out all images of
a contributor, this equals plain LDS. Where subsets draw single images, differences between images
of one contributor do not count. Images without a contributor form one group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.evaluation.lds.score import predict_outputs
from creditline.methods.subset_losses import subset_masks

ROUNDING = 1e-12


def predict_from_totals(
    scores: np.ndarray, masks: np.ndarray, contributors: Sequence[str | None]
) -> np.ndarray:
    """Predict the output of each subset from totals per contributor, float64 of shape `(m, M)`."""
    membership = _membership(contributors)
    means = np.asarray(scores, dtype=np.float64) @ membership / membership.sum(0)
    return predict_outputs(means @ membership.T, masks)


def has_varying_shares(masks: np.ndarray, contributors: Sequence[str | None]) -> bool:
    """Whether a contributor's share of images differs between subsets.

    Raises:
        DataError: if the masks do not have one column for each of the contributors' images.
    """
    membership = _membership(contributors)
    if membership.shape[1] < 2:
        return False
    shares = subset_masks(masks, len(contributors)) @ membership / membership.sum(0)
    return bool(np.ptp(shares, axis=0).max() > ROUNDING)


def _membership(contributors: Sequence[str | None]) -> np.ndarray:
    """One-hot matrix of the contributor of each image, float64 of shape `(n, contributors)`."""
    names, group = np.unique([c or "" for c in contributors], return_inverse=True)
    return np.eye(len(names))[group]
