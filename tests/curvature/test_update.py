"""Up- and downdates against fits of the very rows that are left."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.curvature.spectrum import Spectrum
from creditline.curvature.update import add_images, remove_images, shift_mean
from creditline.errors import SettingsError
from creditline.features.table import ArrayFeatures

CASES = [(300, 20), (40, 90), (1500, 30)]


def case(n: int, k: int):
    """Rows with a large common direction, and a mean that moves when some come or go."""
    rng = np.random.default_rng(n + k)
    drift = np.linspace(0, 2, n)[:, None] * rng.standard_normal(k)
    rows = rng.standard_normal((n, k)) + 5 * rng.standard_normal(k) + drift
    return rows, rng.standard_normal((4, k))


def same(a: Spectrum, b: Spectrum, rows: np.ndarray, query: np.ndarray) -> None:
    table = ArrayFeatures(rows)
    assert a.space == b.space
    assert_allclose(a.eigenvalues, b.eigenvalues, rtol=1e-8, atol=1e-10 * b.eigenvalues[-1])
    assert_allclose(a.mean, b.mean, rtol=1e-8, atol=1e-12)
    for damping in (0.01 * b.eigenvalues.mean(), 3 * b.eigenvalues.mean()):
        expected = b.scores(table, 0, query, damping)
        results = a.scores(table, 0, query, damping)
        assert_allclose(results, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
        assert_allclose(
            a.quadratic(table, 0, damping, 1), b.quadratic(table, 0, damping, 1), rtol=1e-8
        )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "k"), CASES)
@pytest.mark.parametrize("m", [1, 7])
def test_added_rows_equal_a_refit(n, k, m, center):
    rows, query = case(n, k)
    before = Spectrum.fit(ArrayFeatures(rows[:-m]), 0, center)
    after = add_images(before, ArrayFeatures(rows), 0, n - m, center)
    assert after is not None
    same(after, Spectrum.fit(ArrayFeatures(rows), 0, center), rows, query)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n", "k"), CASES)
@pytest.mark.parametrize("gone", [[0], [3, 4, 11, 38]])
def test_removed_rows_equal_a_refit(n, k, gone, center):
    rows, query = case(n, k)
    before = Spectrum.fit(ArrayFeatures(rows), 0, center)
    after = remove_images(before, ArrayFeatures(rows), 0, np.array(gone), center)
    rest = np.delete(rows, gone, 0)
    assert after is not None
    same(after, Spectrum.fit(ArrayFeatures(rest), 0, center), rest, query)


@pytest.mark.parametrize(("n", "k"), CASES[:2])
def test_many_changes_do_not_drift(n, k):
    rows, query = case(n, k)
    spectrum, now = Spectrum.fit(ArrayFeatures(rows), 0, True), rows
    for turn in range(12):
        spectrum = remove_images(spectrum, ArrayFeatures(now), 0, np.array([turn]), True)
        now = np.concatenate([np.delete(now, turn, 0), now[turn : turn + 1]])
        spectrum = add_images(spectrum, ArrayFeatures(now), 0, n - 1, True)
    same(spectrum, Spectrum.fit(ArrayFeatures(now), 0, True), now, query)


def test_a_common_shift_changes_only_the_mean():
    rows, query = case(300, 20)
    shift = query[0]
    before = Spectrum.fit(ArrayFeatures(rows), 0, True)
    expected = Spectrum.fit(ArrayFeatures(rows + shift), 0, True)
    same(shift_mean(before, shift), expected, rows + shift, query)


def test_no_update_where_a_fit_is_cheaper_or_more_exact():
    rows, _ = case(40, 30)
    full = Spectrum.fit(ArrayFeatures(rows), 0, True)
    assert remove_images(full, ArrayFeatures(rows), 0, np.arange(20), True) is None, "half of them"
    assert remove_images(full, ArrayFeatures(rows), 0, np.arange(11), True) is None, (
        "dual from here"
    )
    part = Spectrum.fit(ArrayFeatures(rows[:25]), 0, True)
    assert add_images(part, ArrayFeatures(rows), 0, 25, True) is None, "primal from here"
    part = Spectrum.fit(ArrayFeatures(rows[:5]), 0, True)
    assert add_images(part, ArrayFeatures(rows[:10]), 0, 5, True) is None, "as many again"


def test_memory_is_checked_first():
    rows, _ = case(300, 20)
    full = Spectrum.fit(ArrayFeatures(rows), 0, True)
    with pytest.raises(SettingsError, match=r"20 rows takes .* of memory; got '10 bytes'"):
        remove_images(full, ArrayFeatures(rows), 0, np.array([0]), True, memory=10)
