"""Leave one out: the effect of a group's absence, seen in a model trained without it.

    score(q, i) = (loss without the group of i - loss of the whole) / images in the group

Each subset leaves out one group, a contributor or a single image; groups do not overlap. Where one
subset holds everything, its loss is the loss of the whole. Otherwise effects are known only beside
each other: the mean over all groups takes its place, which shifts every group's effect on a query
by the same amount.

A group's effect is shared equally among its images, so scores add up to effects per contributor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from creditline.errors import DataError
from creditline.retraining.base import RetrainingMethod


@dataclass
class LeaveOneOut(RetrainingMethod):
    """Effect of each left-out group, shared equally among its images.

    Attributes:
        groups_: group of each training image, shape `(n,)`, numbered by their first images.
        effects_: of every group on every query, shape `(m, groups)`; positive lowers the loss.
    """

    name: ClassVar = "leave-one-out"
    title: ClassVar = "Leave one out"
    paper: ClassVar = "Cook, Technometrics 1977"
    formula: ClassVar = "(loss without the group of i − loss of the whole) / images in the group"
    needs: ClassVar = "one retrained model for every contributor, or every image, left out"
    cost: ClassVar = "a subtraction"

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        whole = masks.all(1)
        out = np.logical_not(masks[~whole])
        seen = out.any(0)
        if not seen.all():
            raise DataError(
                f"{int((~seen).sum())} of {len(seen)} training images, first number "
                f"{int(np.argmin(seen))}, are never left out, so their effect is not known. "
                "Finish the subsets that leave them out."
            )
        groups, which = np.unique(out, axis=0, return_inverse=True)
        which = np.reshape(which, -1)  # numpy 2.0 keeps an axis
        if (groups.sum(0) > 1).any():
            raise DataError(
                f"Image {int(np.argmax(groups.sum(0) > 1))} is left out together with different "
                "images, so effects cannot be told apart. Give one subset per group, or use "
                "empirical influence or a datamodel for random subsets."
            )
        order = np.argsort(groups.argmax(1))
        groups, which = groups[order], np.argsort(order)[which]
        without = np.stack([losses[~whole][which == g].mean(0) for g in range(len(groups))])
        base = losses[whole].mean(0) if whole.any() else without.mean(0)
        self.groups_ = groups.argmax(0)
        self.effects_ = (without - base).T
        return (self.effects_ / groups.sum(1))[:, self.groups_]
