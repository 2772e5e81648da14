"""Leave one out: the effect of a group's absence, measured in a model trained without it.

    score(q, i) = (loss without the group of i - loss with all images) / images in the group

Each subset leaves out one group, a contributor or a single image; groups do not overlap. Where one
subset holds all images, its loss is the reference. Otherwise effects are known only relative to
each other: the mean over all groups takes its place, which shifts every group's effect on a query
by the same amount.

A group's effect is shared equally among its images, so scores add up to effects per contributor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from creditline.errors import DataError
from creditline.methods.subset_method import SubsetAttributor


@dataclass
class LeaveOneOut(SubsetAttributor):
    """Effect of each left-out group, shared equally among its images.

    Attributes:
        groups_: group of each training image, shape `(n,)`, numbered by their first images.
        effects_: of every group on every query, shape `(m, groups)`; positive lowers the loss.
    """

    name: ClassVar = "leave-one-out"
    title: ClassVar = "Leave one out"
    paper: ClassVar = "Cook, Technometrics 1977"
    formula: ClassVar = "(loss without the group of i − loss with all images) / images in the group"
    needs: ClassVar = "one retrained model for every contributor, or every image, left out"
    cost: ClassVar = "a subtraction"
    capabilities: ClassVar = replace(SubsetAttributor.capabilities, held_out=False)

    def learn(self, masks: np.ndarray, losses: np.ndarray) -> np.ndarray:
        complete = masks.all(1)
        out = np.logical_not(masks[~complete])
        left_out = out.any(0)
        if not left_out.all():
            raise DataError(
                f"{int((~left_out).sum())} of {len(left_out)} training images, first number "
                f"{int(np.argmin(left_out))}, are never left out, so their effect is not known. "
                "Finish the subsets that leave them out."
            )
        groups, which = np.unique(out, axis=0, return_inverse=True)
        which = np.reshape(which, -1)  # numpy 2.0 keeps an axis
        if (groups.sum(0) > 1).any():
            raise DataError(
                f"Image {int(np.argmax(groups.sum(0) > 1))} is left out together with different "
                "images, so effects cannot be distinguished. Give one subset per group, or use "
                "empirical influence or a datamodel for random subsets."
            )
        order = np.argsort(groups.argmax(1))
        groups, which = groups[order], np.argsort(order)[which]
        without = np.stack([losses[~complete][which == g].mean(0) for g in range(len(groups))])
        base = losses[complete].mean(0) if complete.any() else without.mean(0)
        self.groups_ = groups.argmax(0)
        self.effects_ = (without - base).T
        return (self.effects_ / groups.sum(1))[:, self.groups_]
