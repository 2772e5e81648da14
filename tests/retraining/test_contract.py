"""What every method that learns from retrained models must do."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError, SettingsError
from creditline.evaluation.lds.score import lds
from creditline.retraining import RETRAINING, get

RANDOM = [name for name in RETRAINING if name != "leave-one-out"]


@pytest.fixture
def linear():
    """A linear world in which few images matter: effects (m, n), masks (M, n), losses (M, S, m)."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=(3, 12)) * (rng.random((3, 12)) < 0.5)
    masks = np.zeros((80, 12), bool)
    for row in masks:
        row[rng.permutation(12)[:6]] = True
    losses = 4.0 - (masks @ effects.T)[:, None, :] + 0.1 * rng.normal(size=(80, 2, 3))
    return effects, masks, losses


def data(name, linear):
    """Masks and losses that a method can learn from."""
    effects, masks, losses = linear
    if name == "leave-one-out":
        masks = np.arange(4)[:, None] != np.repeat(np.arange(4), 3)
        losses = 4.0 - masks @ effects.T
    return masks, losses


@pytest.mark.parametrize("name", RANDOM)
def test_finds_the_effects_with_their_sign(name, linear):
    effects, masks, losses = linear
    scores = get(name)().fit(masks, losses).attribute()
    for q in range(3):
        assert np.corrcoef(scores[q], effects[q])[0, 1] > 0.9
    assert lds(scores, masks, losses).mean > 0.9


@pytest.mark.parametrize("name", RETRAINING)
def test_scale_and_offset_of_losses(name, linear):
    masks, losses = data(name, linear)
    offsets = np.array([5.0, -3.0, 100.0])
    a = get(name)().fit(masks, losses).attribute()
    b = get(name)().fit(masks, losses * 1e-3 + offsets).attribute()
    assert_allclose(b * 1e3, a, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", RETRAINING)
def test_seeds_are_averaged_and_order_does_not_matter(name, linear):
    masks, losses = data(name, linear)
    if losses.ndim == 2:
        losses = np.stack([losses - 1, losses + 1], 1)
    a = get(name)().fit(masks, losses).attribute()
    b = get(name)().fit(masks.astype(np.uint8), losses.mean(1)).attribute()
    assert_allclose(a, b, atol=1e-12)
    images = np.random.default_rng(1).permutation(12)
    c = get(name)().fit(masks[:, images], losses).attribute()
    assert_allclose(c, a[:, images], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", RETRAINING)
def test_what_does_not_fit(name, linear):
    masks, losses = data(name, linear)
    method = get(name)()
    with pytest.raises(SettingsError, match="not fitted"):
        method.attribute()
    with pytest.raises(DataError, match="one row for each"):
        method.fit(masks, losses[:-1])
    with pytest.raises(DataError, match="only 0 and 1"):
        method.fit(masks * 3, losses)
    with pytest.raises(DataError, match="too few"):
        method.fit(masks[:1], losses[:1])


def test_unknown_name():
    with pytest.raises(SettingsError, match="Did you mean 'datamodel'"):
        get("datamodle")
