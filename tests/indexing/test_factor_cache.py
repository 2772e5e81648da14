"""Train-side factors on disk: the same scores as the features themselves."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.methods.wide import context, widen

from creditline.errors import CreditlineError
from creditline.features.table import ArrayFeatures
from creditline.indexing import factor_cache as module
from creditline.indexing.factor_cache import load_or_write
from creditline.indexing.rescoring import rescore
from creditline.methods import FitContext, classes, get
from creditline.notice import Notice
from creditline.runtime.progress import ProgressTask

N, C, K = 1500, 2, 37
SEARCHABLE = [name for name, cls in classes().items() if cls.capabilities.searchable]


@pytest.fixture
def train() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((N, C, K)) + 1.0


@pytest.fixture
def query() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((5, C, K)) + 1.0


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * C * K * 97)


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert_allclose(actual, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", SEARCHABLE)
@pytest.mark.parametrize("scale", [1.0, 1e-25])
def test_scores_are_those_of_the_method(name, scale, train, query, tmp_path):
    method, query = get(name)(), widen(name, query * scale)
    rows = load_or_write(tmp_path / "rows", method.fit(context(method, train * scale)))
    assert_close(rows.scores(method.weighted_query_factors(query)), method.attribute(query))


def test_the_top_is_that_of_all_scores_ties_included(train, query, tmp_path):
    train[700:720] = train[:20]
    train[720:] = np.repeat(train[720:1110], 2, axis=0)
    method = get("trak")().fit(FitContext(features=train))
    rows = load_or_write(tmp_path / "rows", method)
    factors = method.weighted_query_factors(query)
    scores = method.attribute(query)
    for top in (1, 20, N + 5):
        positions, values = rows.top(factors, top)
        assert positions.shape == values.shape == (len(query), min(top, N))
        for i in range(len(query)):
            order = np.lexsort((np.arange(N), -np.round(scores[i], 9)))[:top]
            assert positions[i].tolist() == order.tolist()
            assert_allclose(values[i], scores[i, order], rtol=1e-5, atol=1e-7)


def test_queries_do_not_influence_each_other(train, query, tmp_path):
    method = get("trak")().fit(FitContext(features=train))
    rows = load_or_write(tmp_path / "rows", method)
    factors = method.weighted_query_factors(query)
    together, alone = rows.top(factors, 7), [rows.top(factor[None], 7) for factor in factors]
    assert np.array_equal(together[0], np.concatenate([p for p, _ in alone]))
    assert_allclose(together[1], np.concatenate([s for _, s in alone]), rtol=1e-12)


@pytest.mark.parametrize("name", ["trak", "gradient-cosine"])
@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_write_continues(name, after, train, tmp_path, monkeypatch):
    method = get(name)().fit(FitContext(features=train))
    complete = load_or_write(tmp_path / "complete", method)
    calls, advance = [], ProgressTask.advance

    def interrupted(self, amount):
        calls.append(amount)
        if len(calls) == after:
            raise KeyboardInterrupt
        advance(self, amount)

    monkeypatch.setattr(ProgressTask, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_or_write(tmp_path / "part", method)
    assert not (tmp_path / "part").exists()
    before, calls[:] = sum(calls), [0] * 100
    again = load_or_write(tmp_path / "part", method)
    assert sum(calls) < C * N, "written rows are not computed again"
    assert before > 0
    for file in (module.UNITS, module.LENGTHS):
        assert (again.folder / file).read_bytes() == (complete.folder / file).read_bytes()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", [module.UNITS, module.LENGTHS, module.CHECKSUMS, "factors.json"])
@pytest.mark.parametrize("what", ["truncate", "flip", "delete"])
def test_damaged_factors_are_written_again(name, what, train, query, tmp_path):
    method = get("trak")().fit(FitContext(features=train))
    rows = load_or_write(tmp_path / "rows", method)
    factors = method.weighted_query_factors(query)
    expected, top = rows.scores(factors), rows.top(factors, 5)
    path = rows.folder / name
    content = bytearray(path.read_bytes())
    if what == "flip":
        content[len(content) // 2] ^= 4
    path.write_bytes(content if what == "flip" else content[:-9])
    if what == "delete":
        path.unlink()
    with pytest.warns(match="computed again from the features"):
        assert np.array_equal(load_or_write(rows.folder, method).scores(factors), expected)
    if name == module.UNITS and what == "flip":
        path.write_bytes(content)
        scores_of = load_or_write(rows.folder, method).scores_of
        with pytest.warns(Notice):
            again = rescore(scores_of, factors, [np.arange(N)] * 5, 5)
        assert np.array_equal(again[1], top[1])


def test_an_interrupted_write_is_believed_as_far_as_it_is_intact(train, tmp_path, monkeypatch):
    method = get("gradient-dot")().fit(FitContext(features=train))
    complete = load_or_write(tmp_path / "complete", method)
    part = tmp_path / "rows.part"
    shutil.copytree(complete.folder, part)
    (part / "factors.json").unlink()
    with (part / module.UNITS).open("r+b") as file:  # as after a power cut
        file.seek(4 * K * N)
        file.write(bytes(4 * K * N))
    again = load_or_write(tmp_path / "rows", method)
    for file in (module.UNITS, module.LENGTHS, module.CHECKSUMS):
        assert (again.folder / file).read_bytes() == (complete.folder / file).read_bytes()


def test_too_little_space_is_refused_before_work(train, tmp_path, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda p: usage._replace(free=10))
    with pytest.raises(CreditlineError, match="keep=False"):
        load_or_write(tmp_path / "rows", get("trak")().fit(FitContext(features=train)))


def test_dual_factors_do_not_depend_on_memory(query, tmp_path):
    train = np.random.default_rng(3).standard_normal((60, 90))
    context = FitContext(features=ArrayFeatures(train))
    method = get("trak")().fit(context)
    wide = load_or_write(tmp_path / "wide", method)
    method.context_ = dataclasses.replace(context, memory=0)
    narrow = load_or_write(tmp_path / "narrow", method)
    factors = method.weighted_query_factors(np.random.default_rng(4).standard_normal((3, 90)))
    assert_close(narrow.scores(factors), wide.scores(factors))
    assert_close(
        wide.scores(factors), method.attribute(np.random.default_rng(4).standard_normal((3, 90)))
    )
