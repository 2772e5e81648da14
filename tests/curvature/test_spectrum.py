"""The spectrum against explicit inverses in float64, in both of its forms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.curvature.kernel import MEMORY, gram
from creditline.curvature.ridge import Ridge
from creditline.curvature.spectrum import Spectrum
from creditline.errors import NumericsError, SettingsError
from creditline.features.table import ArrayFeatures


def case(n: int, k: int, common: float = 0.0):
    rng = np.random.default_rng(n * k)
    shift = common * rng.standard_normal(k)
    return rng.standard_normal((n, k)) + shift, rng.standard_normal((5, k)) + shift


def explicit(phi: np.ndarray, query: np.ndarray, damping: float, center: bool) -> np.ndarray:
    mean = phi.mean(0) if center else np.zeros(phi.shape[1])
    a, b = phi - mean, query - mean
    return b @ np.linalg.solve(a.T @ a + damping * np.eye(a.shape[1]), a.T)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "k"), [(60, 20), (20, 60), (40, 40), (1100, 30)])
@pytest.mark.parametrize("space", ["primal", "dual"])
def test_scores_equal_the_explicit_inverse(n, k, space, center):
    phi, query = case(n, k, common=3.0)
    table = ArrayFeatures(phi)
    spectrum = Spectrum.fit(table, 0, center, space)
    for damping in (0.5, 30.0):
        expected = explicit(phi, query, damping, center)
        assert_allclose(spectrum.scores(table, 0, query, damping), expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("n", "k"), [(60, 20), (20, 60)])
def test_quadratic_forms(n, k):
    phi, _ = case(n, k, common=2.0)
    table, damping = ArrayFeatures(phi), 0.7
    spectrum = Spectrum.fit(table, 0, center=True)
    a = phi - phi.mean(0)
    inverse = np.linalg.inv(a.T @ a + damping * np.eye(k))
    leverage = np.einsum("ik,kl,il->i", a, inverse, a)
    assert_allclose(spectrum.quadratic(table, 0, damping, 1), leverage, rtol=1e-7)
    moved = np.linalg.norm(a @ inverse, axis=1) ** 2
    assert_allclose(spectrum.quadratic(table, 0, damping, 2), moved, rtol=1e-6)
    assert_allclose(spectrum.quadratic(table, 0, damping, 0), (a**2).sum(1), rtol=1e-9)


@pytest.mark.parametrize("common", [30.0, 300.0])
def test_a_huge_common_direction_does_not_spoil_small_dampings(common):
    """float32 inverses fail here (D-TRAK's features are like this); both forms must agree."""
    phi, query = case(100, 400, common)
    table = ArrayFeatures(phi)
    primal, dual = (Spectrum.fit(table, 0, True, s) for s in ("primal", "dual"))
    a = primal.scores(table, 0, query, 1.0)
    b = dual.scores(table, 0, query, 1.0)
    assert_allclose(a, b, rtol=1e-5, atol=1e-8 * np.abs(b).max())


def test_large_damping_tends_to_the_plain_inner_product():
    phi, query = case(30, 50)
    table = ArrayFeatures(phi)
    scores = Spectrum.fit(table, 0, False).scores(table, 0, query, 1e9)
    assert_allclose(scores * 1e9, query @ phi.T, rtol=1e-5, atol=1e-5)


def test_scores_survive_storage():
    phi, query = case(20, 60, 1.0)
    table = ArrayFeatures(phi)
    spectrum = Spectrum.fit(table, 0, True)
    raw = {k: np.frombuffer(a.data, a.dtype).reshape(a.shape) for k, a in spectrum.arrays().items()}
    again = Spectrum.from_arrays(raw)
    assert again.space == spectrum.space
    assert np.array_equal(again.scores(table, 0, query, 0.1), spectrum.scores(table, 0, query, 0.1))


def test_damping_is_relative_to_the_spectrum_so_scale_does_not_matter():
    phi, query = case(40, 20, 2.0)
    results = []
    for scale in (1.0, 1e-4):
        table = ArrayFeatures(phi * scale)
        spectrum = Spectrum.fit(table, 0, True)
        for reference in ("mean", "median"):
            damping = Ridge(0.1, reference).absolute(spectrum.eigenvalues)
            results.append(spectrum.scores(table, 0, query * scale, damping))
    assert_allclose(results[0], results[2], rtol=1e-6)
    assert_allclose(results[1], results[3], rtol=1e-6)


def test_damping_below_the_safe_range_is_refused_with_the_numbers():
    phi, _ = case(20, 60, 5.0)
    values = Spectrum.fit(ArrayFeatures(phi), 0, False).eigenvalues
    with pytest.raises(NumericsError, match=r"below .* largest eigenvalue .* Smallest safe"):
        Ridge(1e-20).absolute(values)
    assert Ridge(3.0, "absolute").absolute(values) == 3.0


def test_equal_features_are_an_error_not_a_division_by_zero():
    values = Spectrum.fit(ArrayFeatures(np.ones((8, 4))), 0, True).eigenvalues
    with pytest.raises(NumericsError, match="All features are the same"):
        Ridge().absolute(values)


def test_features_that_are_not_finite():
    phi = np.ones((8, 4))
    phi[3, 2] = np.nan
    with pytest.raises(NumericsError, match="not finite"):
        Spectrum.fit(ArrayFeatures(phi), 0, True)


@pytest.mark.slow
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "k"), [(1100, 30), (70, 90), (1100, 1200)])
def test_scores_are_inner_products_with_preconditioned_features(n, k, center):
    phi, query = case(n, k, common=3.0)
    table = ArrayFeatures(phi)
    spectrum = Spectrum.fit(table, 0, center)
    for memory in (0, MEMORY):  # row by row at the worst
        if memory == 0 and n > 100 and k > n:
            continue
        solved = list(spectrum.preconditioned(table, 0, 2.0, memory))
        assert [start for start, _ in solved] == np.cumsum([0, *map(len, (r for _, r in solved))])[
            :-1
        ].tolist()
        rows = np.concatenate([rows for _, rows in solved])
        expected = spectrum.scores(table, 0, query, 2.0)
        assert_allclose((query - spectrum.mean) @ rows.T, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_a_kernel_in_blocks_is_the_kernel_at_once():
    phi, _ = case(2100, 4000)
    table = ArrayFeatures(phi)
    blocks = [gram(table, 0, phi.mean(0), memory) for memory in (0, MEMORY)]
    a = phi - phi.mean(0)
    for kernel in blocks:
        assert_allclose(np.tril(kernel), np.tril(a @ a.T), rtol=1e-9, atol=1e-8)


def test_too_little_memory_for_the_kernel_is_refused_with_the_needed_amount():
    phi, _ = case(60, 20)
    needed = 3 * 8 * 20**2 + 3 * 2**26
    assert Spectrum.fit(ArrayFeatures(phi), 0, True, memory=needed).space == "primal"
    with pytest.raises(SettingsError, match=r"takes 201.3 MB of memory.*Allow more"):
        Spectrum.fit(ArrayFeatures(phi), 0, True, memory=needed - 1)


@pytest.mark.parametrize("damping", [-1.0, float("nan"), float("inf")])
def test_bad_damping(damping):
    with pytest.raises(SettingsError, match="damping"):
        Ridge(damping)
    with pytest.raises(SettingsError, match="median"):
        Ridge(relative_to="medain")
