"""Feature tables."""

from __future__ import annotations

import numpy as np
import pytest

from creditline.errors import SettingsError
from creditline.features.table import CHUNK_ROWS, ArrayFeatures, feature_norms, inner_products


def test_products_over_chunks_equal_products_of_the_array():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((2 * CHUNK_ROWS + 5, 2, 3))
    weights, mean = rng.standard_normal((4, 3)), rng.standard_normal(3)
    table = ArrayFeatures(array)
    for c in range(2):
        np.testing.assert_allclose(inner_products(table, c, weights), weights @ array[:, c].T)
        np.testing.assert_allclose(
            inner_products(table, c, weights, mean), weights @ (array[:, c] - mean).T
        )
        np.testing.assert_allclose(feature_norms(table, c), np.linalg.norm(array[:, c], axis=1))


def test_wrong_shapes_are_refused():
    with pytest.raises(SettingsError, match="models"):
        ArrayFeatures(np.zeros(3))
    with pytest.raises(SettingsError, match="one row"):
        ArrayFeatures(np.zeros((0, 3)))
