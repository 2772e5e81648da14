"""Leave one out where effects are additive."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError
from creditline.methods import FitContext, SubsetLosses
from creditline.methods.leave_one_out import LeaveOneOut

GROUPS = np.array([0, 1, 1, 2, 2, 2, 0])
EFFECTS = np.array([[3.0, -1.0, 0.5], [0.0, 2.0, 4.0]])


def without(groups=GROUPS):
    return groups != np.unique(groups)[:, None]


def losses(masks):
    """A group lowers losses by its effect if all of it is in the subset."""
    present = np.stack([masks[:, g == GROUPS].all(1) for g in range(3)], 1)
    return 6.0 - present @ EFFECTS.T


def test_effects_and_equal_shares():
    masks = np.vstack([without(), np.ones((1, 7), bool)])
    model = LeaveOneOut().fit(FitContext(subsets=SubsetLosses(masks, losses(masks))))
    assert_allclose(model.effects_, EFFECTS)
    assert np.array_equal(model.groups_, GROUPS)
    scores = model.scores_
    assert_allclose(scores[0], [1.5, -0.5, -0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3, 1.5])
    for g in range(3):
        assert_allclose(scores[:, g == GROUPS].sum(1), EFFECTS[:, g])


def test_without_a_subset_of_all_images_effects_are_relative_to_their_mean():
    masks = without()[[2, 0, 1]]
    model = LeaveOneOut().fit(FitContext(subsets=SubsetLosses(masks, losses(masks))))
    assert_allclose(model.effects_, EFFECTS - EFFECTS.mean(1, keepdims=True))


def test_repeated_subsets_are_averaged():
    masks = np.vstack([without(), without(), np.ones((1, 7), bool)])
    noise = np.repeat([[0.1], [-0.1], [0.0]], [3, 3, 1], axis=0)
    assert_allclose(
        LeaveOneOut().fit(FitContext(subsets=SubsetLosses(masks, losses(masks) + noise))).effects_,
        EFFECTS,
    )


def test_single_images():
    masks = ~np.eye(5, dtype=bool)
    effects = np.random.default_rng(0).normal(size=(2, 5))
    masks = np.vstack([masks, np.ones((1, 5), bool)])
    assert_allclose(
        LeaveOneOut().fit(FitContext(subsets=SubsetLosses(masks, 1 - masks @ effects.T))).scores_,
        effects,
    )


def test_subsets_of_another_kind():
    masks = without()
    with pytest.raises(DataError, match="2 of 7 training images, first number 1"):
        LeaveOneOut().fit(FitContext(subsets=SubsetLosses(masks[[0, 2]], losses(masks[[0, 2]]))))
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="together with different images"):
        LeaveOneOut().fit(
            FitContext(subsets=SubsetLosses(rng.random((20, 7)) < 0.5, rng.normal(size=(20, 2))))
        )
