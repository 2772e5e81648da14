"""Preconditioned features on disk: the same scores as the features themselves, however made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from creditline.errors import CreditlineError
from creditline.features.table import ArrayFeatures
from creditline.indexing import rows as module
from creditline.indexing.rows import FactorCache, make
from creditline.methods import METHODS, get

N, C, K = 1500, 2, 37


@pytest.fixture
def train() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, C, K)) + 1.0


@pytest.fixture
def query() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, C, K)) + 1.0


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * C * K * 97)


def close(found: np.ndarray, wanted: np.ndarray) -> None:
    assert_allclose(found, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_scores_are_those_of_the_method(name, scale, train, query, tmp_path):
    method = get(name)().fit(train * scale)
    rows = make(tmp_path / "rows", method)
    close(rows.scores(method.query_sides(query * scale)), method.attribute(query * scale))


def test_the_top_is_that_of_all_scores_ties_included(train, query, tmp_path):
    train[700:720] = train[:20]
    train[720:] = np.repeat(train[720:1110], 2, axis=0)
    method = get("trak")().fit(train)
    rows = make(tmp_path / "rows", method)
    sides = method.query_sides(query)
    scores = method.attribute(query)
    for top in (1, 20, N + 5):
        positions, found = rows.top(sides, top)
        assert positions.shape == found.shape == (len(query), min(top, N))
        for i in range(len(query)):
            order = np.lexsort((np.arange(N), -np.round(scores[i], 9)))[:top]
            assert positions[i].tolist() == order.tolist()
            assert_allclose(found[i], scores[i, order], rtol=1e-5, atol=1e-7)


def test_queries_do_not_influence_each_other(train, query, tmp_path):
    method = get("trak")().fit(train)
    rows = make(tmp_path / "rows", method)
    sides = method.query_sides(query)
    together, alone = rows.top(sides, 7), [rows.top(side[None], 7) for side in sides]
    assert np.array_equal(together[0], np.concatenate([p for p, _ in alone]))
    assert_allclose(together[1], np.concatenate([s for _, s in alone]), rtol=1e-12)


@pytest.mark.parametrize("name", ["trak", "gradient-cosine"])
@pytest.mark.parametrize("after", [1, 3])
def test_made_again_from_where_it_was_killed(name, after, train, tmp_path, monkeypatch):
    method = get(name)().fit(train)
    whole = make(tmp_path / "whole", method)
    calls, advance = [], module.Progress.advance

    def killed(self, amount):
        calls.append(amount)
        if len(calls) == after:
            raise KeyboardInterrupt
        advance(self, amount)

    monkeypatch.setattr(module.Progress, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "part", method)
    assert not (tmp_path / "part").exists()
    before, calls[:] = sum(calls), [0] * 100
    again = make(tmp_path / "part", method)
    assert sum(calls) < C * N, "what is there is not made again"
    assert before > 0
    for file in (module.UNITS, module.LENGTHS):
        assert (again.folder / file).read_bytes() == (whole.folder / file).read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_file_says_what_to_do(train, tmp_path):
    folder = make(tmp_path / "rows", get("trak")().fit(train)).folder
    with (folder / module.UNITS).open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(CreditlineError, match="made again"):
        FactorCache(folder, N, C, K)


def test_too_little_room_is_seen_before_work(train, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda p: usage._replace(free=10))
    with pytest.raises(CreditlineError, match="keep=False"):
        make(tmp_path / "rows", get("trak")().fit(train))


def test_dual_rows_do_not_depend_on_memory(query, tmp_path):
    train = np.random.default_rng(3).standard_normal((60, 90))
    method = get("trak")().fit(ArrayFeatures(train))
    wide = make(tmp_path / "wide", method)
    narrow = make(tmp_path / "narrow", method, memory=0)
    sides = method.query_sides(np.random.default_rng(4).standard_normal((3, 90)))
    close(narrow.scores(sides), wide.scores(sides))
    close(wide.scores(sides), method.attribute(np.random.default_rng(4).standard_normal((3, 90))))
