"""What every registered bilinear method promises."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.methods.wide import context, widen

from creditline.errors import SettingsError
from creditline.features.table import ArrayFeatures
from creditline.methods import FitContext, QueryBatch, classes, get
from creditline.settings import from_dict, to_dict

N, M, C, K = 40, 6, 3, 12
BILINEAR = [name for name, m in classes().items() if m.capabilities.kind == "bilinear"]
OTHER_FORM = ("das", "combined")
RIDGE = [name for name in BILINEAR if get(name).capabilities.damped]


def fit(method, train):
    """A method by name or instance, fitted on features."""
    method = get(method)() if isinstance(method, str) else method
    if isinstance(train, ArrayFeatures):
        return method.fit(FitContext(features=train))
    return method.fit(context(method, train))


@pytest.fixture
def train() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, C, K)) + 1.0


@pytest.fixture
def query() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((M, C, K)) + 1.0


@pytest.mark.parametrize("name", BILINEAR)
def test_scores_carry_the_values_of_attribute(name, train, query):
    method = fit(name, train)
    query = widen(name, query)
    scores = method.score(QueryBatch(features=query))
    assert np.array_equal(scores.values, method.attribute(query))
    assert scores.noise is None
    blocks = method.score(QueryBatch(features=np.stack([query, query + 1], axis=1)))
    assert np.array_equal(blocks.blocks[:, 0], scores.values)
    assert np.array_equal(blocks.blocks.mean(1), blocks.values)


@pytest.mark.parametrize("name", BILINEAR)
def test_scores_are_inner_products_with_features_where_it_says_so(name, train, query):
    method = fit(name, train)
    factors = method.weighted_query_factors(widen(name, query))
    table, total = method.features_, 0.0
    if name in OTHER_FORM:
        with pytest.raises(SettingsError, match="Search exactly"):
            method.feature_form(0, factors[:, 0])
        return
    forms = [method.feature_form(c, factors[:, c]) for c in range(table.models)]
    for c, form in enumerate(forms):
        rows = np.concatenate([rows for _, rows in table.chunks(c)])
        total = total + form.scores(form.weights @ rows.T, slice(None))
        some = np.array([1, 5])
        assert_allclose(
            form.scores(form.weights @ rows[some].T, some),
            form.scores(form.weights @ rows.T, slice(None))[:, some],
        )
    assert_allclose(total, method.attribute(widen(name, query)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", BILINEAR)
def test_a_fit_is_a_value(name, train, query):
    first = fit(name, train)
    query = widen(name, query)
    before = first.attribute(query)
    first.unfitted().fit(context(first, train[:20]))
    assert np.array_equal(first.attribute(query), before)


@pytest.mark.parametrize("name", BILINEAR)
def test_card_is_complete(name):
    method = get(name)
    assert method.name == name
    for text in ("title", "paper", "formula", "needs", "cost"):
        assert getattr(method, text).strip()
    assert (method.__doc__ or "").strip()


@pytest.mark.parametrize("name", BILINEAR)
def test_deterministic_and_independent_of_other_queries(name, train, query):
    query = widen(name, query)
    scores = fit(name, train).attribute(query)
    assert scores.shape == (M, N)
    assert scores.dtype == np.float64
    assert np.array_equal(scores, fit(name, train).attribute(query))
    one_by_one = np.concatenate([fit(name, train).attribute(q[None]) for q in query])
    assert_allclose(one_by_one, scores, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", BILINEAR)
def test_order_of_training_images_only_permutes_the_columns(name, train, query):
    order = np.random.default_rng(2).permutation(N)
    query = widen(name, query)
    scores = fit(name, train).attribute(query)
    assert_allclose(
        fit(name, train[order]).attribute(query), scores[:, order], rtol=1e-8, atol=1e-12
    )


@pytest.mark.parametrize("name", BILINEAR)
def test_several_models_are_an_average_of_one(name, train, query):
    query = widen(name, query)
    together = fit(name, train).attribute(query)
    apart = [fit(name, train[:, c]).attribute(query[:, c]) for c in range(C)]
    assert_allclose(together, np.mean(apart, axis=0), rtol=1e-10)


@pytest.mark.parametrize("name", [n for n in BILINEAR if get(n).capabilities.self_influence])
def test_self_influence_is_the_diagonal(name, train):
    method = fit(name, train)
    own = np.diag(method.attribute(widen(name, train)))
    assert_allclose(method.self_influence(), own, rtol=1e-7)


@pytest.mark.parametrize("name", BILINEAR)
def test_a_score_is_the_inner_product_of_two_factors(name, train, query):
    method, query = fit(name, train), widen(name, query)
    rows = [np.concatenate([r for _, r in method.train_factors(c)]) for c in range(C)]
    product = np.einsum("mck,nck->mn", method.weighted_query_factors(query), np.stack(rows, axis=1))
    assert_allclose(product, method.attribute(query), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", BILINEAR)
def test_sign_on_two_points(name):
    """Training on the image whose gradient points the query's way lowers the query's loss."""
    friend, foe = np.array([2.0, 0.1, 0.0]), np.array([-2.0, 0.1, 0.5])
    scores = fit(name, np.stack([friend, foe])).attribute(widen(name, friend[None]))
    assert scores[0, 0] > 0 > scores[0, 1]


@pytest.mark.parametrize("name", BILINEAR)
def test_common_scale_of_the_features_does_not_change_the_ranking(name, train, query):
    query = widen(name, query)
    scores = fit(name, train).attribute(query)
    small = dataclasses.replace(context(get(name)(), train), features=1e-3 * widen(name, train))
    scaled = get(name)().fit(small).attribute(query * 1e-3)
    assert np.array_equal(np.argsort(scores), np.argsort(scaled))


@pytest.mark.parametrize("name", BILINEAR)
def test_settings_survive_a_manifest(name):
    method = get(name)()
    assert from_dict(get(name), to_dict(method)) == method


@pytest.mark.parametrize("name", BILINEAR)
def test_unfitted_and_misshapen(name, train, query):
    with pytest.raises(SettingsError, match="not fitted"):
        get(name)().attribute(query)
    with pytest.raises(SettingsError, match="same settings"):
        fit(name, train).attribute(query[:, :, :5])


@pytest.mark.parametrize("name", RIDGE)
def test_ridge_methods_against_the_explicit_formula(name, train, query):
    phi, q = train[:, 0], query[:, 0]
    method = fit(name, phi)
    a, b = phi - phi.mean(0), q - phi.mean(0)
    kernel = a.T @ a
    damping = method.ridge.damping * np.trace(kernel) / min(N, K)
    inverse = np.linalg.inv(kernel + damping * np.eye(K))
    expected = b @ inverse @ a.T
    if name == "relative-if":
        expected /= np.linalg.norm(a @ inverse, axis=1)
    if name == "renormalized-if":
        expected /= np.linalg.norm(a, axis=1)
    assert_allclose(method.attribute(q), expected, rtol=1e-6)


def test_trak_is_the_exact_influence_of_a_linear_model_as_damping_vanishes():
    """Least squares: the change of prediction on deleting a point is h_qi r_i / (1 - h_ii)."""
    rng = np.random.default_rng(3)
    x, q = rng.standard_normal((30, 4)), rng.standard_normal((5, 4))
    y = x @ rng.standard_normal(4) + rng.standard_normal(30)
    ridge = dataclasses.replace(get("trak")().ridge, damping=1e-9, center=False)
    method = fit(dataclasses.replace(get("trak")(), ridge=ridge), x)
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    predicted = method.attribute(q) * residual / (1 - method.self_influence())
    for i in range(30):
        rest = np.delete(np.arange(30), i)
        without = np.linalg.lstsq(x[rest], y[rest], rcond=None)[0]
        change = q @ np.linalg.lstsq(x, y, rcond=None)[0] - q @ without
        assert_allclose(predicted[:, i], change, rtol=1e-5, atol=1e-9)


def test_tracin_weights(train, query):
    table = ArrayFeatures(train, learning_rates=(0.1, 0.2, 0.3))
    method = fit(get("tracin")(checkpoint_weights="learning-rate"), table)
    expected = sum(rate * query[:, c] @ train[:, c].T for c, rate in enumerate((0.1, 0.2, 0.3)))
    assert_allclose(method.attribute(query), expected, rtol=1e-10)
    unknown = fit(get("tracin")(checkpoint_weights="learning-rate"), train)
    with pytest.raises(SettingsError, match="learning rate"):
        unknown.attribute(query)
    with pytest.raises(SettingsError, match="learning-rate"):
        get("tracin")(checkpoint_weights="learning-rates")


def test_cosine_with_a_zero_feature_is_zero(train, query):
    train[4] = 0
    for name in ("gradient-cosine", "gas", "pixel-cosine", "encoder-cosine"):
        scores = fit(name, train).attribute(query)
        assert (scores[:, 4] == 0).all()
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("kind", ["gradient", "pixel", "encoder"])
def test_centered_cosines_are_cosines_of_mean_centered_features(kind, train, query):
    middle = train.mean(0)
    expected = fit(f"{kind}-cosine", train - middle).attribute(query - middle)
    centered = fit(f"{kind}-centered", train)
    assert_allclose(centered.attribute(query), expected, rtol=1e-9, atol=1e-12)
    shifted = fit(f"{kind}-centered", train + 5.0).attribute(query + 5.0)
    assert_allclose(shifted, expected, rtol=1e-9, atol=1e-12)
