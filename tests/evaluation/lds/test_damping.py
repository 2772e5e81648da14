"""Dampings: hindsight is never worse, held-out choices are never flattered."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.curvature.ridge import Ridge
from creditline.errors import NumericsError, SettingsError
from creditline.evaluation.lds.damping import DampingSearch, predict_per_damping, score_dampings
from creditline.evaluation.lds.score import compute_lds, score_outputs

QUICK = {"resamples": 100}


def ridge_scores(world):
    """Scores that are right at a damping of 1 and worse the further from it."""
    noise = np.random.default_rng(7).normal(size=world.effects.shape)

    def scores_at(damping: float) -> np.ndarray:
        return world.effects + 0.7 * abs(np.log10(damping)) * noise

    return scores_at


def test_the_three_scores(world):
    w = world(m=20, noise=0.5)
    outputs = predict_per_damping(ridge_scores(w), w.masks, 0.05)
    assert list(outputs) == sorted({*DampingSearch().dampings, 0.05})
    result = score_dampings(outputs, w.losses, 0.05, **QUICK)
    assert result.oracle_damping == 1.0
    assert (
        result.default.mean == compute_lds(ridge_scores(w)(0.05), w.masks, w.losses, **QUICK).mean
    )
    assert result.default.mean < result.oracle.mean == max(result.curve.values())
    assert result.curve[0.05] == pytest.approx(result.default.mean)
    # One damping is best everywhere, so that held-out choices find it too.
    assert result.choice_shares == {1.0: 1.0}
    assert result.cross_validated.mean == pytest.approx(result.oracle.mean, abs=0.02)
    assert json.loads(json.dumps(result.to_dict()))["oracle"]["damping"] == 1.0


@pytest.mark.slow
def test_chance_flatters_hindsight_but_not_cross_validation(world):
    """Many random predictors: the best looks good, and its held-out choice is worth nothing."""
    held, best = [], []
    for seed in range(5):
        w = world(m=8, n=10, seed=seed)
        rng = np.random.default_rng(seed)
        outputs = {float(d + 1): rng.normal(size=(8, 64)) for d in range(30)}
        result = score_dampings(outputs, w.losses, 1.0, DampingSearch(splits=5), resamples=2)
        held.append(result.cross_validated.mean)
        best.append(result.oracle.mean)
    assert np.mean(best) > 0.06
    assert abs(np.mean(held)) < 0.06


def test_hindsight_prefers_the_default_among_equals(world):
    w = world(m=4)
    outputs = predict_per_damping(lambda _: w.effects, w.masks, 0.1)
    result = score_dampings(outputs, w.losses, 0.1, **QUICK)
    assert result.oracle_damping == 0.1
    assert_allclose(result.cross_validated.per_query, 1.0)
    assert result.cross_validated.interval == (1.0, 1.0)


def test_dampings_that_float64_cannot_solve_are_left_out(world):
    w = world(m=4)
    eigenvalues = np.array([1.0, 1e13])

    def scores_at(damping: float) -> np.ndarray:
        Ridge(damping, "absolute").absolute(eigenvalues)
        return w.effects

    outputs = predict_per_damping(scores_at, w.masks, 3.0)
    assert list(outputs) == [0.3, 1.0, 3.0, 10.0, 30.0, 100.0]
    with pytest.raises(NumericsError):
        predict_per_damping(scores_at, w.masks, 0.01)


def test_too_few_to_halve(world):
    for w in (world(m=4, M=15), world(m=1)):
        outputs = predict_per_damping(lambda _, w=w: w.effects, w.masks, 0.1)
        result = score_dampings(outputs, w.losses, 0.1, **QUICK)
        assert result.cross_validated is None
        assert result.to_dict()["cross_validated"] is None


def test_the_interval_is_that_of_the_damping_chosen(world):
    w = world(m=20, noise=0.5)
    outputs = predict_per_damping(ridge_scores(w), w.masks, 0.1)
    result = score_dampings(outputs, w.losses, 0.1, **QUICK)
    alone = score_outputs(outputs[1.0], w.losses, **QUICK)
    shift = result.cross_validated.mean - alone.mean
    assert_allclose(result.cross_validated.interval, np.array(alone.interval) + shift)


def test_bad_settings():
    with pytest.raises(SettingsError, match="positive"):
        DampingSearch(dampings=(0.0,))
    with pytest.raises(SettingsError, match="splits"):
        DampingSearch(splits=0)
