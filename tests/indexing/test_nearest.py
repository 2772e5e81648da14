"""Approximate search against the exact one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import SettingsError
from creditline.indexing.factor_cache import load_or_write
from creditline.indexing.nearest import load_or_build, require_rows
from creditline.indexing.product_codes import ProductCodes
from creditline.indexing.search_result import SearchResult
from creditline.methods import FitContext, get

N, C, K = 3000, 2, 40


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A method on features of lengths that differ a hundredfold, in groups, as gradients have."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((30, C, K))
    train = centers[rng.integers(0, 30, N)] + 0.3 * rng.standard_normal((N, C, K))
    train *= np.exp(rng.uniform(0, 2, N))[:, None, None]
    query = train[rng.integers(0, N, 40)] + 0.3 * rng.standard_normal((40, C, K))
    method = get("trak")().fit(FitContext(features=train))
    folder = tmp_path_factory.mktemp("nearest")
    rows = load_or_write(folder / "rows", method)
    factors = method.weighted_query_factors(query)
    nearest = load_or_build(folder / "nearest", ProductCodes(rows, method), lambda: query)
    return folder / "nearest", rows, factors, nearest


def test_recall_is_measured_and_returned_scores_are_exact(case):
    folder, rows, factors, nearest = case
    exact, approximate = rows.top(factors, 20), nearest.top(factors, 20)
    share = np.mean([np.isin(a, b).mean() for a, b in zip(exact[0], approximate[0], strict=True)])
    assert nearest.recall == share == json.loads((folder / "recall.json").read_text())["recall"]
    assert share > 0.8
    scores = rows.scores(factors)
    assert_allclose(
        approximate[1], np.take_along_axis(scores, approximate[0], 1), rtol=1e-5, atol=1e-7
    )
    assert (np.diff(approximate[1]) <= 0).all()


def test_it_is_built_once(case):
    folder, _, _, nearest = case
    again = load_or_build(folder, nearest.codes, lambda: pytest.fail("built again"))
    assert again.recall == nearest.recall


def test_too_few_rows():
    with pytest.raises(SettingsError, match="at least 1,024 images"):
        require_rows(1000)


def test_recall_of_one_search_in_another():
    a, b = np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 5]])
    first, second = (SearchResult(x, np.zeros((2, 2)), ("", ""), None, None) for x in (a, b))  # type: ignore[arg-type]
    assert first.recall(second) == 0.75
    with pytest.raises(SettingsError, match="same images"):
        first.recall(SearchResult(a[:, :1], np.zeros((2, 1)), ("", ""), None, None))  # type: ignore[arg-type]
