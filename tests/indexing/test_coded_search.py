"""Approximate search of few-bit features against the exact one."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tools.synthetic import Whitened
from tools.synthetic_index import synthetic_index, synthetic_queries

import creditline as cl
from creditline.errors import SettingsError
from creditline.features.table import take_rows
from creditline.gradients.projection import Projection
from creditline.indexing import sign_codes, sum_codes
from creditline.methods import get
from creditline.notice import Notice

N, DIM = 1500, 512


def sized(name, dim, **settings):
    """A method whose features have a dimension."""
    method = get(name)()
    features = replace(method.features, projection=Projection("count-sketch", dim), **settings)
    return replace(method, features=features)


def make(folder, method, source, n=N):
    """An index, and queries that are no training images."""
    index = synthetic_index(folder, n, source, None, method, 300)
    return index, synthetic_queries(index, source, 8)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """An index of EK-FAC's features in one bit, and queries."""
    source = Whitened(DIM, share=0.05)
    return make(tmp_path_factory.mktemp("coded") / "index", sized("ekfac", DIM), source)


@pytest.fixture(scope="module", params=[16, 8])
def both(request, tmp_path_factory):
    """An index of `combined`, with D-TRAK's features in some bits, and queries."""
    source = Whitened(DIM, 64, share=0.05)
    source.bits = (1, request.param)
    method = replace(sized("combined", DIM), square_norm_dim=64, square_norm_bits=request.param)
    return make(tmp_path_factory.mktemp("combined") / "index", method, source)


@pytest.fixture
def few_candidates(monkeypatch):
    """As many candidates to an image as a large index has."""
    monkeypatch.setattr(sign_codes, "POOL", 20)
    for module in (sign_codes, sum_codes):
        monkeypatch.setattr(module, "CANDIDATES", 5)


@pytest.mark.slow
def test_recall_is_measured_and_returned_scores_are_exact(case, few_candidates):
    index, queries = case
    exact = index.search(queries, top=20)
    result = index.search(queries, top=20, approximate=True)
    assert result.recall(exact) > 0.9
    (recall,) = index.path.glob("fitted/*/nearest-*/recall.json")
    assert json.loads(recall.read_text())["recall"] == result.expected_recall > 0.9
    scores = np.take_along_axis(index.scores(queries), result.rows, axis=1)
    assert_allclose(result.scores, scores, rtol=1e-5)
    assert (np.diff(result.scores) <= 0).all()


@pytest.mark.slow
def test_with_all_images_as_candidates_it_is_the_exact_search(case, monkeypatch):
    monkeypatch.setattr(sign_codes, "CANDIDATES", 100)
    index, queries = case
    for one in (index, index.using("ekfac-cosine")):
        for opponents in (False, True):
            settings = {"top": 20, "opponents": opponents}
            exact = one.search(queries, **settings)
            result = one.search(queries, approximate=True, **settings)
            assert np.array_equal(result.rows, exact.rows)
            assert_allclose(result.scores, exact.scores, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_features_of_all_bits_are_searched(tmp_path, bits, few_candidates):
    source = Whitened(DIM, share=0.05)
    source.bits = (bits,)
    index, queries = make(tmp_path / "index", sized("trak", DIM, bits=bits), source)
    exact = index.search(queries, top=20)
    result = index.search(queries, top=20, approximate=True)
    assert result.recall(exact) > 0.5  # 0.07 by chance
    scores = np.take_along_axis(index.scores(queries), result.rows, axis=1)
    assert_allclose(result.scores, scores, rtol=1e-5, atol=1e-6 * np.abs(scores).max())


@pytest.mark.slow
def test_a_sum_is_searched_term_by_term(both, few_candidates, monkeypatch):
    monkeypatch.setattr(sign_codes, "SIGNS", 256)
    index, queries = both
    exact = index.search(queries, top=20)
    result = index.search(queries, top=20, approximate=True)
    assert result.recall(exact) > 0.7
    scores = np.take_along_axis(index._engine.fit().attribute(queries.values[:, 0]), result.rows, 1)
    # All images are in the sample of the spread here.
    assert_allclose(result.scores, scores, rtol=1e-5)
    names = set(index.path.glob("fitted/*/nearest-*"))
    own = index.using("ekfac")._engine  # shares the codes
    own.state.fits.nearest(own.fit())
    assert set(index.path.glob("fitted/*/nearest-*")) == names


@pytest.mark.slow
def test_a_damaged_search_is_built_again(case):
    index, queries = case
    before = index.search(queries, top=5, approximate=True)
    folder = next(index.path.glob("fitted/*/nearest-*"))
    file = next(folder.glob("rows.lance/data/*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.warns(Notice, match="built again"):
        again = cl.open_index(index.path).search(queries, top=5, approximate=True)
    assert np.array_equal(before.rows, again.rows)


@pytest.mark.slow
def test_a_kernel_of_images_has_no_such_search(tmp_path):
    source = Whitened(1104)
    index, queries = make(tmp_path / "index", sized("trak", 1104, bits=1), source, 1100)
    with pytest.raises(SettingsError, match="Search exactly"):
        index.search(queries, approximate=True)
    assert not list(index.path.glob("fitted/*/nearest-*"))


@pytest.mark.slow
def test_a_sum_with_such_a_term_is_refused_before_anything_is_built(tmp_path):
    source = Whitened(1104, 1104)
    source.bits = (1, 8)
    method = replace(sized("combined", 1104), square_norm_dim=1104)
    index, queries = make(tmp_path / "index", method, source, 1100)
    with pytest.raises(SettingsError, match="Search exactly"):
        index.search(queries, approximate=True)
    assert not list(index.path.glob("fitted/*/nearest-*"))


@pytest.mark.slow
def test_single_rows_are_read_as_in_a_pass(case):
    index, _ = case
    rows = np.array([1, 7, 299, 300, 1499])
    assert np.array_equal(take_rows(index.table, 0, rows), index.features()[rows])
