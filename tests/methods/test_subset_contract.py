"""What every registered subset method promises."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import DataError, SettingsError
from creditline.evaluation.lds.score import compute_lds
from creditline.methods import FitContext, QueryBatch, SubsetLosses, classes, get

SUBSET = [name for name, cls in classes().items() if cls.capabilities.kind == "subset"]
RANDOM = [name for name in SUBSET if get(name).capabilities.held_out]


def fit(method, masks, losses, query_ids=()):
    """A method by name or instance, fitted to retrained models."""
    method = get(method)() if isinstance(method, str) else method
    return method.fit(FitContext(subsets=SubsetLosses(masks, losses, query_ids)))


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
    scores = fit(name, masks, losses).scores_
    for q in range(3):
        assert np.corrcoef(scores[q], effects[q])[0, 1] > 0.9
    assert compute_lds(scores, masks, losses).mean > 0.9


@pytest.mark.parametrize("name", SUBSET)
def test_scale_and_offset_of_losses(name, linear):
    masks, losses = data(name, linear)
    offsets = np.array([5.0, -3.0, 100.0])
    a = fit(name, masks, losses).scores_
    b = fit(name, masks, losses * 1e-3 + offsets).scores_
    assert_allclose(b * 1e3, a, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", SUBSET)
def test_seeds_are_averaged_and_order_does_not_matter(name, linear):
    masks, losses = data(name, linear)
    if losses.ndim == 2:
        losses = np.stack([losses - 1, losses + 1], 1)
    a = fit(name, masks, losses).scores_
    b = fit(name, masks.astype(np.uint8), losses.mean(1)).scores_
    assert_allclose(a, b, atol=1e-12)
    images = np.random.default_rng(1).permutation(12)
    c = fit(name, masks[:, images], losses).scores_
    assert_allclose(c, a[:, images], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", SUBSET)
def test_what_does_not_fit(name, linear):
    masks, losses = data(name, linear)
    method = get(name)()
    with pytest.raises(SettingsError, match="not fitted"):
        method.score(QueryBatch())
    with pytest.raises(DataError, match="one row for each"):
        fit(method, masks, losses[:-1])
    with pytest.raises(DataError, match="only 0 and 1"):
        fit(method, masks * 3, losses)
    with pytest.raises(DataError, match="too few"):
        fit(method, masks[:1], losses[:1])


@pytest.mark.parametrize("name", SUBSET)
def test_queries_are_recognized_by_their_pixels(name, linear, tiny_images):
    masks, losses = data(name, linear)
    queries = tiny_images.subset([0, 1, 2])
    method = fit(name, masks, losses, queries.ids)
    scores = method.score(QueryBatch(images=queries.subset([2, 0]))).values
    assert np.array_equal(scores, method.scores_[[2, 0]])
    with pytest.raises(DataError, match=r"knows only the 3 query images .* 00005\.png"):
        method.score(QueryBatch(images=tiny_images.subset([5])))


@pytest.mark.parametrize("name", SUBSET)
def test_what_a_context_lacks(name):
    with pytest.raises(SettingsError, match="learns from retrained models"):
        get(name)().fit(FitContext())
