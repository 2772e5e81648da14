"""Empirical influence by its definition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError
from creditline.methods import FitContext, SubsetLosses
from creditline.methods.empirical_influence import EmpiricalInfluence


def test_the_definition():
    rng = np.random.default_rng(0)
    masks, losses = rng.random((20, 5)) < 0.5, rng.normal(size=(20, 3))
    scores = EmpiricalInfluence().fit(FitContext(subsets=SubsetLosses(masks, losses))).scores_
    for q in range(3):
        for i in range(5):
            without, with_it = losses[~masks[:, i], q], losses[masks[:, i], q]
            assert_allclose(scores[q, i], without.mean() - with_it.mean())


def test_every_subset_once_recovers_a_linear_truth():
    """In a full design every other image is in half of either side, so it cancels."""
    masks = np.array([[j >> i & 1 for i in range(5)] for j in range(32)], bool)
    effects = np.random.default_rng(0).normal(size=(3, 5))
    scores = (
        EmpiricalInfluence()
        .fit(FitContext(subsets=SubsetLosses(masks, 7 - masks @ effects.T)))
        .scores_
    )
    assert_allclose(scores, effects)


def test_an_image_that_is_always_in():
    masks = np.random.default_rng(0).random((20, 5)) < 0.5
    masks[:, 3] = True
    with pytest.raises(DataError, match="1 of 5 training images, first number 3"):
        EmpiricalInfluence().fit(
            FitContext(subsets=SubsetLosses(masks, np.random.default_rng(1).normal(size=(20, 2))))
        )
