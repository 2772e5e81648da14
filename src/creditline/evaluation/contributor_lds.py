"""LDS of totals per contributor: is a method right about who matters, not only about what?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from creditline.errors import DataError
from creditline.evaluation.lds import LDS, lds
from creditline.retraining.arrays import subset_masks


def contributor_lds(
    scores: np.ndarray,
    masks: np.ndarray,
    losses: np.ndarray,
    contributors: Sequence[str | None],
    **options: Any,
) -> LDS:
    """LDS of a method's totals per contributor.

    A subset is predicted from totals alone: each contributor's sum of scores, times the share of
    their images that is in the subset. Where subsets leave out whole contributors this is the sum
    of the totals of those who stay, hence plain LDS; where they draw images, differences between
    images of one contributor no longer count.

    Args:
        scores, masks, losses: as `lds`.
        contributors: of each training image; those without one count together.
        options: of `lds`.

    Raises:
        DataError: as `lds`; if there is one contributor only, or every contributor has the same
            share in all subsets, as when subsets were stratified by contributor.
    """
    scores = np.asarray(scores, dtype=np.float64)
    checked = subset_masks(masks, len(contributors))
    names, group = np.unique([c or "" for c in contributors], return_inverse=True)
    belongs = np.eye(len(names))[group]  # (n, contributors)
    sizes = belongs.sum(0)
    shares = checked @ belongs / sizes
    if len(names) < 2 or np.ptp(shares, axis=0).max() < 1e-12:
        raise DataError(
            f"Every subset holds the same share of each of {len(names)} contributors, so totals "
            "predict the same of all. Use subsets that are not stratified by contributor, or "
            "that leave contributors out."
        )
    return lds((scores @ belongs / sizes)[:, group], checked, losses, **options)
