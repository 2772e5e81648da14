"""Leave one out where effects are additive."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError
from creditline.retraining.leave_one_out import LeaveOneOut

GROUPS = np.array([0, 1, 1, 2, 2, 2, 0])
EFFECTS = np.array([[3.0, -1.0, 0.5], [0.0, 2.0, 4.0]])


def without(groups=GROUPS):
    return groups != np.unique(groups)[:, None]


def losses(masks):
    """A group helps by its effect if all of it is there."""
    there = np.stack([masks[:, g == GROUPS].all(1) for g in range(3)], 1)
    return 6.0 - there @ EFFECTS.T


def test_effects_and_equal_shares():
    masks = np.vstack([without(), np.ones((1, 7), bool)])
    model = LeaveOneOut().fit(masks, losses(masks))
    assert_allclose(model.effects_, EFFECTS)
    assert np.array_equal(model.groups_, GROUPS)
    scores = model.attribute()
    assert_allclose(scores[0], [1.5, -0.5, -0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3, 1.5])
    for g in range(3):
        assert_allclose(scores[:, g == GROUPS].sum(1), EFFECTS[:, g])


def test_without_the_whole_effects_are_beside_their_mean():
    masks = without()[[2, 0, 1]]
    model = LeaveOneOut().fit(masks, losses(masks))
    assert_allclose(model.effects_, EFFECTS - EFFECTS.mean(1, keepdims=True))


def test_repeated_subsets_are_averaged():
    masks = np.vstack([without(), without(), np.ones((1, 7), bool)])
    noise = np.repeat([[0.1], [-0.1], [0.0]], [3, 3, 1], axis=0)
    assert_allclose(LeaveOneOut().fit(masks, losses(masks) + noise).effects_, EFFECTS)


def test_single_images():
    masks = ~np.eye(5, dtype=bool)
    effects = np.random.default_rng(0).normal(size=(2, 5))
    masks = np.vstack([masks, np.ones((1, 5), bool)])
    assert_allclose(LeaveOneOut().fit(masks, 1 - masks @ effects.T).attribute(), effects)


def test_subsets_of_another_kind():
    masks = without()
    with pytest.raises(DataError, match="2 of 7 training images, first number 1"):
        LeaveOneOut().fit(masks[[0, 2]], losses(masks[[0, 2]]))
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="together with different images"):
        LeaveOneOut().fit(rng.random((20, 7)) < 0.5, rng.normal(size=(20, 2)))
