"""Score transforms: what they preserve, what they drop, what they refuse."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import SettingsError
from creditline.methods.score_transform import ScoreTransform, TransformName

SCORES = np.random.default_rng(0).standard_normal((3, 50))
ERROR = np.random.default_rng(1).uniform(0.1, 1.0, (3, 50))


def test_transforms_are_their_formulas():
    positive = np.maximum(SCORES, 0)
    assert ScoreTransform().apply(SCORES) is SCORES
    assert_allclose(ScoreTransform("rectified").apply(SCORES), positive)
    assert_allclose(ScoreTransform("squared").apply(SCORES), SCORES**2)
    assert_allclose(ScoreTransform("power", exponent=2).apply(SCORES), positive**2)
    at_error = ScoreTransform("threshold", threshold=2, threshold_unit="error").apply(SCORES, ERROR)
    assert_allclose(at_error, np.maximum(SCORES - 2 * ERROR, 0))
    at_one = ScoreTransform("threshold", threshold_unit="absolute").apply(SCORES)
    assert_allclose(at_one, np.maximum(SCORES - 1, 0))


@pytest.mark.parametrize("name", get_args(TransformName))
@pytest.mark.parametrize("unit", ["spread", "error"])
def test_a_query_s_scale_does_not_matter_to_shares(name, unit):
    transform = ScoreTransform(name, threshold_unit=unit)
    one, other = transform.credit(SCORES, ERROR), transform.credit(1e4 * SCORES, 1e4 * ERROR)
    assert (one >= 0).all()
    assert_allclose(one / one.sum(1)[:, None], other / other.sum(1)[:, None])


@pytest.mark.parametrize("name", get_args(TransformName))
def test_proponents_keep_their_order(name):
    transformed = ScoreTransform(name).apply(SCORES)
    for scores, credit in zip(SCORES, transformed, strict=True):
        positive = scores > 0
        order = np.argsort(scores[positive])
        assert (np.diff(credit[positive][order]) >= 0).all()


def test_queries_are_transformed_independently():
    transform = ScoreTransform("threshold")
    assert_allclose(transform.apply(SCORES)[1], transform.apply(SCORES[1]))


def test_a_threshold_above_everything_leaves_nothing():
    assert not ScoreTransform("threshold", threshold=100).apply(SCORES).any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transform": "powr"}, "Did you mean 'power'"),
        ({"threshold_unit": "sd"}, "threshold unit"),
        ({"exponent": 0}, "exponent must be positive; got 0"),
        ({"threshold": -1}, "threshold must not be negative; got -1"),
        ({"threshold": float("nan")}, "threshold must be a finite number"),
    ],
)
def test_bad_settings_are_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        ScoreTransform(**settings)


def test_a_noise_floor_needs_errors():
    transform = ScoreTransform("threshold", threshold_unit="error")
    assert transform.needs_error
    with pytest.raises(SettingsError, match="two or more evaluations"):
        transform.apply(SCORES)
