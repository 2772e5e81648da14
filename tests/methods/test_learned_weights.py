"""Learned weights of layers: the base method where they are equal, better where one layer knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import SettingsError
from creditline.gradients.projection import Block, Projection
from creditline.gradients.spec import FeatureSpec
from creditline.methods import FitContext, get
from creditline.methods.learned_weights import LearnedWeights
from creditline.settings import override

SIZES = (4, 8, 2, 6)
N, M, K = 40, 5, sum(SIZES)
BASES = ["ekfac", "trak", "d-trak"]


def blocks(sizes=SIZES):
    starts = np.cumsum((0, *sizes[:-1]))
    return [
        Block(f"layer {i}", 100, int(start), size)
        for i, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]


def fit(method, train, sizes=SIZES):
    return method.fit(FitContext(features=train, blocks=blocks(sizes)))


def learned(base="ekfac", bits=16, **settings):
    return override(LearnedWeights(base=base), {"bits": bits, **settings})


@pytest.fixture
def train() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, K)) + 0.5


@pytest.fixture
def query() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((M, K)) + 0.5


@pytest.mark.parametrize("bits", [16, 1])
@pytest.mark.parametrize("base", BASES)
def test_equal_weights_give_the_scores_of_the_base(base, bits, train, query):
    method = fit(learned(base, bits), train)
    method.layer_weights_ = np.ones((1, len(SIZES)))
    expected = method.base_.attribute(query)
    assert method.base_.name == base
    assert_allclose(method.attribute(query), expected, rtol=1e-6, atol=1e-9)
    assert_allclose(method.self_influence(), method.base_.self_influence(), rtol=1e-6)


@pytest.mark.parametrize("base", BASES)
def test_one_layer_is_the_base(base, train, query):
    method = fit(learned(base), train, (K,))
    assert method.layer_weights_.tolist() == [[1.0]]
    assert_allclose(method.attribute(query), method.base_.attribute(query), rtol=1e-9)


@pytest.mark.parametrize("base", BASES)
def test_scores_are_sums_over_layers_times_their_weights(base, train, query):
    method = fit(learned(base), train)
    factors = method.base_.query_factors(0, query)
    rows = np.concatenate([rows for _, rows in method.train_factors(0)])
    parts = [slice(b.start, b.start + b.rows) for b in blocks()]
    expected = sum(
        weight * factors[:, part] @ rows[:, part].T
        for weight, part in zip(method.layer_weights_[0], parts, strict=True)
    )
    assert_allclose(method.attribute(query), expected, rtol=1e-8, atol=1e-12)
    assert np.ptp(method.layer_weights_) > 0.01
    assert method.layer_weights_.mean() == pytest.approx(1)


@pytest.mark.parametrize("base", BASES)
def test_a_rotation_within_a_layer_changes_no_weight(base, train):
    rng, turned = np.random.default_rng(2), train.copy()
    for block in blocks():
        part = slice(block.start, block.start + block.rows)
        turned[:, part] @= np.linalg.qr(rng.standard_normal((block.rows, block.rows)))[0]
    weights = [fit(learned(base), rows).layer_weights_ for rows in (train, turned, 1e-4 * train)]
    assert_allclose(weights[1], weights[0], rtol=1e-6)
    assert_allclose(weights[2], weights[0], rtol=1e-6)


def test_few_bit_features_are_rotated_back_to_layers(train, query):
    import torch

    from creditline.gradients.projection.rotation import RandomRotation

    turn = RandomRotation(K, 0)
    rotated, turned_query = (turn(torch.from_numpy(rows)).numpy() for rows in (train, query))
    plain, coded = fit(learned(), train), fit(learned(bits=1), rotated)
    assert_allclose(coded.layer_weights_, plain.layer_weights_, rtol=1e-5)
    assert_allclose(coded.attribute(turned_query), plain.attribute(query), rtol=1e-5, atol=1e-6)


def test_a_layer_that_knows_gets_the_weight_and_the_ranking_improves():
    """Images come in pairs that only the second layer sees; the others are noise."""
    rng = np.random.default_rng(3)
    pairs = rng.standard_normal((30, 8))
    noise = 2 * rng.standard_normal((3, 60, K))
    train = noise[0]
    train[:, 4:12] = np.repeat(pairs, 2, axis=0) + 0.1 * rng.standard_normal((60, 8))
    query = noise[1][:30]
    query[:, 4:12] = pairs
    method = fit(learned(top_share=0.02), train)
    assert method.layer_weights_[0].argmax() == 1

    def rank_of_pair(scores):
        order = np.argsort(-scores, axis=1)
        return np.mean(
            [np.isin(order[i], [2 * i, 2 * i + 1]).nonzero()[0].mean() for i in range(30)]
        )

    assert rank_of_pair(method.attribute(query)) < 0.7 * rank_of_pair(method.base_.attribute(query))


def test_an_images_own_score_does_not_count(train):
    """In the first layer images have nothing in common, and large scores for themselves."""
    alone = np.concatenate([100 * np.eye(N), train[:, :6]], axis=1)
    assert_allclose(fit(learned(), alone, (N, 6)).layer_weights_, 1, rtol=1e-6)


def test_joint_features_are_refused_with_the_setting(train):
    with pytest.raises(SettingsError, match="--layout layers"):
        LearnedWeights(features=FeatureSpec(projection=Projection()))
    with pytest.raises(SettingsError, match="--layout layers"):
        learned().fit(FitContext(features=train))
    with pytest.raises(SettingsError, match="--layout layers"):
        learned().fit(FitContext(features=train, blocks=[Block("*", 1000, 0, K)]))
    explicit = FeatureSpec(projection=Projection("none"))
    assert fit(LearnedWeights(features=explicit), train).layer_weights_.shape == (1, len(SIZES))


def test_settings_without_effect_are_refused():
    with pytest.raises(SettingsError, match="damping has no effect"):
        LearnedWeights().check_given({"damping": 3.0})
    with pytest.raises(SettingsError, match="preconditioner has no effect"):
        LearnedWeights(base="trak").check_given({"preconditioner": "kfac"})
    with pytest.raises(SettingsError, match="objective has no effect"):
        LearnedWeights(base="d-trak").check_given({"objective": "simple"})
    LearnedWeights(base="d-trak").check_given({"damping": 3.0})


def test_little_memory_is_refused_before_any_work(train):
    context = FitContext(features=train, blocks=blocks(), memory=1000)
    with pytest.raises(SettingsError, match="--weight-queries"):
        learned().fit(context)


def test_readers_see_the_largest_weights(train):
    facts = fit(learned("d-trak"), train).facts()
    assert facts["layers"] == len(SIZES)
    assert next(iter(facts["largest layer weights"])).startswith("layer ")
    assert "absolute damping" in facts


def test_it_shares_the_index_of_its_base():
    for base in BASES:
        method = LearnedWeights(base=base)
        assert method.index_settings() == method.base_method().index_settings()
    assert LearnedWeights().index_settings() != get("ekfac")().index_settings()


def test_it_adds_up_with_other_methods(train, query):
    from creditline.methods import MethodSum

    class Total(MethodSum):
        capabilities = LearnedWeights.capabilities

        def terms(self):
            return {"first": (2.0, learned()), "second": (1.0, get("gradient-dot")())}

    wide = np.concatenate([train, train], axis=1)
    context = FitContext(
        features=wide,
        feature_sets={"first": K, "second": K},
        blocks=[*blocks(), *(replace(b, start=b.start + K) for b in blocks())],
    )
    total = Total().fit(context).attribute(np.concatenate([query, query], axis=1))
    expected = 2 * fit(learned(), train).attribute(query) + query @ train.T
    assert_allclose(total, expected, rtol=1e-9)
