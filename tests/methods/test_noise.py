"""The error of scores: exact identities of its sample, and whether it is as large as it says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.curvature.ridge import Ridge
from creditline.curvature.spectrum import Spectrum
from creditline.errors import SettingsError
from creditline.features import ArrayFeatures
from creditline.gradients.plan import NoisePlan
from creditline.gradients.spec import FeatureSpec
from creditline.methods import METHODS, get
from creditline.methods.noise import ScoreNoise

GRADIENT = sorted(name for name, cls in METHODS.items() if cls.source == "gradients")
EVEN = FeatureSpec(plan=NoisePlan(draws=2))


def data(n=12, k=8, m=3, noise=0.3, seed=0):
    """Training features and errors, query features and errors."""
    rng = np.random.default_rng(seed)
    shapes = ((n, k), (n, k), (m, k), (m, k))
    phi, f, q, e = (rng.standard_normal(shape) for shape in shapes)
    return phi, noise * (f - f.mean(0)), q, noise * e


@pytest.mark.parametrize("k", [8, 30])
@pytest.mark.parametrize("name", GRADIENT)
def test_halves_differ_by_twice_the_sample(name, k):
    phi, f, q, e = data(k=k)
    method = get(name)(features=EVEN).fit(ArrayFeatures(phi, (0.1,), errors=f))
    noise, scores = method.noise(q, e), method.attribute(q)
    # Queries: the score is affine in them, so the difference of two queries is exact.
    apart = method.attribute(q + e) - method.attribute(q - e)
    if "cos" not in name and name != "gas":
        assert_allclose(noise.from_query, apart / 2, rtol=1e-9, atol=1e-12)
    assert noise.error.shape == scores.shape
    assert (noise.error > 0).all()


@pytest.mark.parametrize("k", [8, 30])
def test_ridge_weights_are_the_inverse(k):
    phi, f, q, e = data(k=k)
    table = ArrayFeatures(phi, errors=f)
    for centre in (True, False):
        spectrum = Spectrum.fit(table, 0, centre)
        assert spectrum.space == ("primal" if k == 8 else "dual")
        a = phi - spectrum.mean
        inverse = np.linalg.inv(a.T @ a + 0.7 * np.eye(k))
        assert_allclose(spectrum.weights(table, 0, q, 0.7), q @ inverse, rtol=1e-8, atol=1e-10)
        method = get("trak")(features=EVEN, ridge=Ridge(0.7, "absolute", centre)).fit(table)
        noise = method.noise(q, e)
        assert_allclose(noise.from_query, e @ inverse @ a.T, rtol=1e-8, atol=1e-10)
        expected = (q - spectrum.mean) @ inverse @ f.T
        assert_allclose(noise.from_train, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["gradient-dot", "trak", "relative-if"])
def test_the_error_is_as_large_as_the_noise_makes_it(name):
    """Against the spread of scores over many draws of all noise, curvature held."""
    n, k, m, draws, size = 60, 20, 4, 400, 0.25
    rng = np.random.default_rng(3)
    phi, q = rng.standard_normal((n, k)) * rng.uniform(0.5, 2, (n, 1)), rng.standard_normal((m, k))
    method = get(name)(features=EVEN)
    method.fit(ArrayFeatures(phi, errors=size * rng.standard_normal((n, k))))
    stated = method.noise(q, size * rng.standard_normal((m, k))).error
    samples = []
    for _ in range(draws):
        f, e = size * rng.standard_normal((n, k)), size * rng.standard_normal((m, k))
        again = get(name)(features=EVEN).fit(ArrayFeatures(phi, errors=f))
        samples.append(again.noise(q, e).sample)
    true = np.std(samples, axis=0)
    ratio = stated / true
    assert 0.8 < np.median(ratio) < 1.25
    assert (np.abs(np.log(ratio)) < np.log(2)).mean() > 0.9


def test_reliability_foretells_the_correlation_with_fresh_noise():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((5, 20_000))
    for size in (0.3, 1.0, 3.0):
        scores, fresh, error = (size * rng.standard_normal(truth.shape) for _ in range(3))
        ones = np.ones(truth.shape[1])
        noise = ScoreNoise(error / 2, error / 2, ones, ones)
        for row in range(5):
            seen = np.corrcoef(truth[row] + scores[row], truth[row] + fresh[row])[0, 1]
            said = noise.reliability(truth + scores)[row]
            assert said == pytest.approx(seen, abs=0.03)


def test_scores_without_any_noise_have_no_error():
    phi, f, q, e = data(noise=0.0)
    method = get("trak")(features=EVEN).fit(ArrayFeatures(phi, errors=f))
    noise = method.noise(q, e)
    assert not noise.error.any()
    assert_allclose(noise.reliability(method.attribute(q)), 1)


def test_what_timesteps_make_all_halves_differ_by_is_no_noise():
    phi, f, q, e = data()
    shift = 5 * np.ones(phi.shape[1])
    odd = FeatureSpec(plan=NoisePlan(timesteps=80))
    for features, shifted in ((odd, e + shift), (EVEN, e)):
        method = get("trak")(features=features)
        alone = method.fit(ArrayFeatures(phi, errors=f)).noise(q, e).sample
        moved = method.fit(ArrayFeatures(phi, errors=f + shift)).noise(q, shifted).sample
        assert_allclose(moved, alone, rtol=1e-6, atol=1e-9)


def test_models_see_the_same_noise():
    phi, f, q, e = data()
    method = get("trak")(features=EVEN)
    one = method.fit(ArrayFeatures(phi, errors=f)).noise(q, e)
    twice = [np.stack([x, x], axis=1) for x in (phi, f, q, e)]
    two = method.fit(ArrayFeatures(twice[0], errors=twice[1])).noise(twice[2], twice[3])
    assert_allclose(two.error, one.error)


def test_errors_that_are_not_there():
    phi, _, q, e = data()
    with pytest.raises(SettingsError, match="two or more evaluations"):
        get("trak")().fit(phi).noise(q, e)
    with pytest.raises(SettingsError, match="Only scores from random noise have an error"):
        get("pixel-dot")().fit(phi).noise(q, e)
    with pytest.raises(SettingsError, match="Errors have the shape of the features"):
        ArrayFeatures(phi, errors=phi[:3])
