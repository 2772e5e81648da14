"""Features that are equal but for rounding: refused where something is divided by them."""

from __future__ import annotations

import numpy as np
import pytest

from creditline import methods
from creditline.curvature.variation import ROUNDING, positive_lengths, require_variation
from creditline.errors import NumericsError
from creditline.features.table import ArrayFeatures
from creditline.methods.fit_context import FitContext

N, K = 6, 40
EPSILON = float(np.finfo(np.float32).eps)
CENTERED = sorted(
    name
    for name, cls in methods.classes().items()
    if cls.capabilities.kind == "bilinear"
    and (cls.capabilities.damped or getattr(cls, "center", False))
)


def equal_features(deviation: float) -> np.ndarray:
    """One feature for all images, and a relative deviation of each."""
    rng = np.random.default_rng(0)
    return rng.standard_normal(K) * (1 + deviation * rng.standard_normal((N, K)))


def scores(name: str, train: np.ndarray) -> np.ndarray:
    method = methods.get(name)().unfitted().fit(FitContext(features=ArrayFeatures(train)))
    return method.attribute(np.random.default_rng(1).standard_normal((2, K)))


@pytest.mark.parametrize("deviation", [0.0, EPSILON, 8 * EPSILON])
@pytest.mark.parametrize("name", CENTERED)
def test_equal_images_are_refused_with_the_reason(name, deviation):
    with pytest.raises(NumericsError, match="All features are the same"):
        scores(name, equal_features(deviation))


@pytest.mark.parametrize("name", CENTERED)
def test_nearly_equal_images_are_scored(name):
    assert np.abs(scores(name, equal_features(1e-3))).max() < 1e6


def test_all_centered_and_damped_methods_are_tried():
    assert {"trak", "d-trak", "relative-if", "renormalized-if", "pixel-centered"} <= set(CENTERED)


@pytest.mark.parametrize("name", ["relative-if", "renormalized-if", "gradient-centered"])
def test_an_image_that_is_the_mean_but_for_rounding_scores_zero(name):
    rng = np.random.default_rng(2)
    offset = rng.standard_normal(K)
    half = 0.1 * rng.standard_normal((3, K))
    train = np.concatenate([offset + half, offset - half, offset[None] * (1 + EPSILON)])
    values = scores(name, train)
    assert (values[:, -1] == 0).all()
    assert (values[:, :-1] != 0).all()


def test_without_a_common_direction_small_features_are_no_rounding():
    require_variation(1e-300, 0.0)
    assert positive_lengths(np.array([1e-200, 0.0]), None).tolist() == [1e-200, np.inf]
    assert positive_lengths(np.array([1e-9, 1.0]), np.ones(1)).tolist() == [np.inf, 1.0]
    assert ROUNDING < 1e-5
