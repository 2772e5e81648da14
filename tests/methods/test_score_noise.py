"""The error of scores: what its samples are, and whether it is as large as it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.methods.wide import context, widen

from creditline.errors import SettingsError
from creditline.features.table import ArrayFeatures
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.spec import FeatureSpec
from creditline.methods import FitContext, QueryBatch, classes, get
from creditline.methods.score_noise import ScoreNoise
from creditline.settings import override

GRADIENT = sorted(name for name, cls in classes().items() if cls.capabilities.has_noise)
EVEN = FeatureSpec(plan=NoisePlan(draws=2))


def even(name):
    """A method by name, with two draws."""
    return override(get(name)(), {"draws": 2})


def data(n=12, k=8, m=3, noise=0.3, seed=0):
    """Training features and errors, query features and errors."""
    rng = np.random.default_rng(seed)
    shapes = ((n, k), (n, k), (m, k), (m, k))
    phi, f, q, e = (rng.standard_normal(shape) for shape in shapes)
    return phi, noise * (f - f.mean(0)), q, noise * e


@pytest.mark.parametrize("k", [8, 30])
@pytest.mark.parametrize("name", GRADIENT)
def test_samples_are_half_the_difference_of_halves(name, k):
    phi, f, q, e = data(k=k)
    method = even(name)
    method.fit(context(method, phi, (0.1,), f))
    q, e = widen(method, q), widen(method, e)
    noise = method.noise(q, e)
    apart = method.attribute(q + e) - method.attribute(q - e)
    assert_allclose(noise.from_query, apart / 2, rtol=1e-9, atol=1e-12)
    one, other = (even(name).fit(context(method, phi + sign * f)) for sign in (1, -1))
    assert_allclose(noise.from_train, (one.attribute(q) - other.attribute(q)) / 2, atol=1e-10)
    assert (noise.error > noise.train_error).all()


@pytest.mark.slow
@pytest.mark.parametrize("dim", [20, 300])
@pytest.mark.parametrize("name", ["gradient-cosine", "trak", "relative-if"])
def test_the_error_is_as_large_as_the_noise_makes_it(name, dim):
    """Against the spread of scores when everything is drawn and fitted again."""
    n, m, size = 60, 6, 0.25
    rng = np.random.default_rng(3)
    phi, q = rng.standard_normal((n, dim)), rng.standard_normal((m, dim))
    q += phi[:m] - 0.7 * phi[m : 2 * m]  # something to find

    def once():
        """Two noise halves on both sides, and the scores of both together."""
        f, g = (size * rng.standard_normal((2, *x.shape)) for x in (phi, q))
        table = ArrayFeatures(phi + f.mean(0), errors=(f[0] - f[1]) / 2)
        method = get(name)(features=EVEN).fit(FitContext(features=table))
        query = q + g.mean(0)
        return method.attribute(query), method.noise(query, (g[0] - g[1]) / 2)

    runs = [once() for _ in range(60)]
    true = np.std([scores for scores, _ in runs], axis=0)
    stated = np.sqrt(np.mean([noise.error**2 for _, noise in runs], axis=0))
    ratio = np.sqrt((stated**2).mean(1) / (true**2).mean(1))
    assert (ratio > 0.8).all()
    assert (ratio < 1.3).all()
    pairs = list(zip(runs[::2], runs[1::2], strict=True))
    clear = np.array([np.abs(a[0]) > 3 * a[1].error for a, _ in pairs])
    agree = np.array([np.sign(a[0]) == np.sign(b[0]) for a, b in pairs])
    assert clear.mean() > 0.01
    assert agree[clear].mean() > 0.95
    seen = [np.corrcoef(a[0][0], b[0][0])[0, 1] for a, b in pairs]
    said = [noise.reliability(scores)[0] for scores, noise in runs]
    assert np.mean(said) == pytest.approx(np.mean(seen), abs=0.06)


def test_reliability_predicts_the_correlation_with_fresh_noise():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((5, 20_000))
    for size in (0.3, 1.0, 3.0):
        scores, fresh, error = (size * rng.standard_normal(truth.shape) for _ in range(3))
        noise = ScoreNoise(error / 2, error / 2, np.ones(20_000))
        for row in range(5):
            seen = np.corrcoef(truth[row] + scores[row], truth[row] + fresh[row])[0, 1]
            said = noise.reliability(truth + scores)[row]
            assert said == pytest.approx(seen, abs=0.03)


def test_scores_without_any_noise_have_no_error():
    phi, f, q, e = data(noise=0.0)
    method = get("trak")(features=EVEN).fit(FitContext(features=ArrayFeatures(phi, errors=f)))
    scores, noise = method.scores_with_noise(q, e)
    # Not nothing: how a product of matrices rounds may depend on the place of a row.
    assert noise.error.max() <= 1e-12 * np.abs(scores).max()
    assert_allclose(noise.reliability(scores), 1)


def test_what_timesteps_make_all_halves_differ_by_is_no_noise():
    phi, f, q, e = data()
    shift = 5 * np.ones(phi.shape[1])
    odd = FeatureSpec(plan=NoisePlan(timesteps=80))
    for features, shifted in ((odd, e + shift), (EVEN, e)):
        for name in ("trak", "gradient-dot"):
            alone = (
                get(name)(features=features)
                .fit(FitContext(features=ArrayFeatures(phi, errors=f)))
                .noise(q, e)
            )
            table = ArrayFeatures(phi, errors=f + shift)
            moved = get(name)(features=features).fit(FitContext(features=table)).noise(q, shifted)
            assert_allclose(moved.sample, alone.sample, rtol=1e-6, atol=1e-9)


def test_models_see_the_same_noise():
    phi, f, q, e = data()
    method = get("trak")(features=EVEN)
    one = method.fit(FitContext(features=ArrayFeatures(phi, errors=f))).noise(q, e)
    twice = [np.stack([x, x], axis=1) for x in (phi, f, q, e)]
    both = get("trak")(features=EVEN).fit(
        FitContext(features=ArrayFeatures(twice[0], errors=twice[1]))
    )
    assert_allclose(both.noise(twice[2], twice[3]).error, one.error)


def test_errors_that_are_not_there():
    phi, _, q, e = data()
    with pytest.raises(SettingsError, match="two or more evaluations"):
        get("trak")().fit(FitContext(features=phi)).noise(q, e)
    with pytest.raises(SettingsError, match="Only scores from random noise have an error"):
        get("pixel-dot")().fit(FitContext(features=phi)).noise(q, e)
    scores = get("trak")().fit(FitContext(features=phi)).score(QueryBatch(features=q, errors=e))
    assert scores.noise is None
    with pytest.raises(SettingsError, match="Errors have the shape of the features"):
        ArrayFeatures(phi, errors=phi[:3])
