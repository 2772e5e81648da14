"""DAS: leverage and residual are those of leaving a training image out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.curvature.ridge import Ridge
from creditline.methods import FitContext, get

N, K, DAMPING = 30, 5, 0.7
RIDGE = Ridge(damping=DAMPING, relative_to="absolute", center=False)


@pytest.fixture
def regression():
    """Features, targets and queries of a ridge regression."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, K)), rng.standard_normal(N), rng.standard_normal((4, K))


def fit(method, x, residual):
    """DAS on features and residuals of images, with the second residual unused."""
    features = np.column_stack([x, residual, np.full(len(x), 7.0)])
    sets = {"output": x.shape[1], "residual": 2}
    return method.fit(FitContext(features=features, feature_sets=sets))


def solve(x, y):
    return np.linalg.solve(x.T @ x + DAMPING * np.eye(K), x.T @ y)


def test_it_is_exact_when_a_point_is_left_out_of_a_ridge_regression(regression):
    x, y, q = regression
    weights = solve(x, y)
    method = fit(get("das")(ridge=RIDGE), x, y - x @ weights)
    scores = method.attribute(np.column_stack([q, np.zeros((4, 2))]))
    for i in range(N):
        rest = np.delete(np.arange(N), i)
        assert_allclose(scores[:, i], q @ (weights - solve(x[rest], y[rest])), rtol=1e-9)


def test_without_residual_and_leverage_it_is_the_plain_ridge_score(regression):
    x, y, q = regression
    plain = get("das")(ridge=RIDGE, residual="none", leverage=False)
    expected = get("trak")(ridge=RIDGE).fit(FitContext(features=x)).attribute(q)
    scores = fit(plain, x, y).attribute(np.column_stack([q, np.ones((4, 2))]))
    assert_allclose(scores, expected, rtol=1e-12)


def test_the_relative_residual_is_the_second_number(regression):
    x, y, q = regression
    wide = np.column_stack([q, np.zeros((4, 2))])
    first = fit(get("das")(ridge=RIDGE), x, np.full(N, 7.0)).attribute(wide)
    second = fit(replace(get("das")(ridge=RIDGE), residual="relative"), x, y).attribute(wide)
    assert_allclose(second, first, rtol=1e-12)
