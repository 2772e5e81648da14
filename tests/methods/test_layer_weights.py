"""The objective of layers' weights, and what its minimum is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from creditline.methods.layer_weights import WeightObjective, learn_weights, softmax

M, LAYERS, N = 5, 4, 30


@pytest.fixture
def scores() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((M, LAYERS, N))


def everything(scores, top=3, penalty=0.1):
    return WeightObjective.of_scores(
        scores, np.ones((len(scores), scores.shape[2]), bool), top, penalty
    )


def test_the_value_is_the_formula_and_the_gradient_that_of_autograd(scores):
    weights = np.random.default_rng(1).random(LAYERS) + 0.1
    value, slope = everything(scores).value(weights)
    w = torch.from_numpy(weights).requires_grad_()
    total = torch.einsum("l,mln->mn", w, torch.from_numpy(scores))
    signal = total.topk(3, dim=1).values.mean(1) / total.square().mean(1).sqrt()
    expected = -signal.mean() + 0.1 * w.square().mean()
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert_allclose(slope, w.grad.numpy(), rtol=1e-9)


def test_the_scale_of_scores_and_of_each_query_does_not_matter(scores):
    weights = learn_weights(everything(scores))
    scales = 10.0 ** np.arange(-6, M - 6)
    assert_allclose(learn_weights(everything(scores * scales[:, None, None])), weights, rtol=1e-7)


def test_scores_that_do_not_count_have_no_effect(scores):
    counts = np.random.default_rng(2).random((M, N)) < 0.8
    first = WeightObjective.of_scores(scores, counts, 3, 0.1)
    second = WeightObjective.of_scores(np.where(counts[:, None], scores, 1e3), counts, 3, 0.1)
    assert_allclose(learn_weights(first), learn_weights(second), rtol=1e-12)


def test_the_layer_in_which_few_images_stand_out_has_the_largest_weight(scores):
    scores[:, 2] *= 0.3
    for query in range(M):
        scores[query, 2, query : query + 3] += 5
    weights = learn_weights(everything(scores))
    assert weights.argmax() == 2
    assert weights.mean() == pytest.approx(1)
    objective = everything(scores)
    assert objective.value(weights)[0] < objective.value(np.ones(LAYERS))[0]


def test_equal_layers_have_equal_weights_and_so_has_a_large_penalty(scores):
    same = np.repeat(scores[:, :1], LAYERS, axis=1)
    assert_allclose(learn_weights(everything(same)), 1, rtol=1e-6)
    assert_allclose(learn_weights(everything(scores, penalty=1e6)), 1, atol=1e-3)


def test_one_layer_or_no_scores_have_weight_one(scores):
    assert learn_weights(everything(scores[:, :1])).tolist() == [1.0]
    assert learn_weights(everything(0 * scores)).tolist() == [1.0] * LAYERS
    alone = WeightObjective.of_scores(scores[:1, :, :1], np.zeros((1, 1), bool), 1, 0.1)
    assert learn_weights(alone).tolist() == [1.0] * LAYERS


def test_softmax_has_mean_one():
    weights = softmax(np.array([1000.0, 999.0, 0.0]))
    assert weights.mean() == pytest.approx(1)
    assert weights[0] / weights[1] == pytest.approx(np.e)
