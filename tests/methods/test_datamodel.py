"""Datamodels where losses are linear in the images, and where nothing can be estimated."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError, SettingsError
from creditline.methods import FitContext, SubsetLosses
from creditline.methods.datamodel import RidgeDatamodel
from creditline.methods.datamodel_lasso import LassoDatamodel


def case(n: int, M: int, noise: float = 0.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(4, n))
    masks = rng.random((M, n)) < 0.5  # of unequal size, so that every effect is determined
    losses = 2.0 - masks @ effects.T + noise * rng.normal(size=(M, 4))
    return effects, masks, losses


def test_a_linear_truth_is_recovered_exactly_without_penalty():
    effects, masks, losses = case(n=10, M=40)
    assert_allclose(
        RidgeDatamodel((1e-12,)).fit(FitContext(subsets=SubsetLosses(masks, losses))).scores_,
        effects,
        atol=1e-8,
    )
    lasso = (
        LassoDatamodel(ratios=(1e-6,)).fit(FitContext(subsets=SubsetLosses(masks, losses))).scores_
    )
    assert_allclose(lasso, effects, atol=1e-2)


@pytest.mark.parametrize("shape", [(10, 40), (60, 30)])
def test_ridge_equals_its_formula(shape):
    """Weights of every query under the penalty that was chosen for it."""
    n, M = shape
    _, masks, losses = case(n, M, noise=1.0)
    model = RidgeDatamodel().fit(FitContext(subsets=SubsetLosses(masks, losses)))
    a, b = masks - masks.mean(0), losses - losses.mean(0)
    unit = (a**2).sum(1).mean()
    for q in range(4):
        kernel = a.T @ a + model.penalty_[q] * unit * np.eye(n)
        assert_allclose(model.scores_[q], -np.linalg.solve(kernel, a.T @ b[:, q]), rtol=1e-6)


def test_the_penalty_follows_the_noise():
    _, masks, losses = case(n=60, M=40)
    clean = RidgeDatamodel().fit(FitContext(subsets=SubsetLosses(masks, losses))).penalty_
    chance = np.random.default_rng(1).normal(size=losses.shape)
    assert (
        RidgeDatamodel().fit(FitContext(subsets=SubsetLosses(masks, chance))).penalty_.mean()
        > 10 * clean.mean()
    )


def test_lasso_gives_few_images_weight_where_few_matter():
    masks = case(n=100, M=60)[1]
    effects = np.zeros((4, 100))
    effects[:, :3] = [5.0, -4.0, 3.0]
    scores = (
        LassoDatamodel().fit(FitContext(subsets=SubsetLosses(masks, 1 - masks @ effects.T))).scores_
    )
    assert (np.abs(scores).argsort(1)[:, -3:] < 3).all()
    assert (scores == 0).mean() > 0.5


def test_equal_subsets_are_refused():
    _, _, losses = case(n=6, M=10)
    for method in (RidgeDatamodel(), LassoDatamodel()):
        with pytest.raises(DataError, match="All subsets hold the same images"):
            method.fit(FitContext(subsets=SubsetLosses(np.ones((10, 6), bool), losses)))


def test_bad_settings():
    with pytest.raises(SettingsError, match="positive"):
        RidgeDatamodel(penalties=(0.0,))
    with pytest.raises(SettingsError, match="ratios are one or more"):
        LassoDatamodel(ratios=())
    with pytest.raises(SettingsError, match="cv_folds"):
        LassoDatamodel(cv_folds=1)


@pytest.mark.parametrize("cls", [RidgeDatamodel, LassoDatamodel])
def test_losses_that_differ_by_rounding_alone_are_refused(cls):
    rng = np.random.default_rng(0)
    masks = rng.random((30, 6)) < 0.5
    losses = 0.7 + rng.integers(-2, 3, (30, 1, 1)) * 2.0**-53
    assert np.ptp(losses) > 0
    with pytest.raises(DataError, match="the same under all 30 subsets, up to rounding"):
        cls().fit(FitContext(subsets=SubsetLosses(masks, losses)))
