"""An index that was opened before another process changed it answers as before, or says so."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import creditline as cl
from creditline.errors import IndexMismatchError
from creditline.indexing import factor_cache
from creditline.indexing.query_scoring import QueryScoring

AGAIN = "was changed by another process since it was opened.*Open it again"


@pytest.fixture
def build(tiny_images, tmp_path):
    """Builds the index from some of the images."""

    def index(count: int = 8, **settings) -> cl.Index:
        images = tiny_images.subset(range(count))
        return cl.index(None, images, method="pixel-centered", out=tmp_path / "index", **settings)

    return index


CHANGES: dict[str, Callable] = {
    "overwrite": lambda build: build(7, overwrite=True),
    "purge": lambda build: build().remove([2], purge=True),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "read",
    [
        lambda index, query: index.trace(query, top=2),
        lambda index, query: index.search(query, top=2),
        lambda index, query: index.scores(query),
        lambda index, query: index.digest(),
        lambda index, query: index.features(),
        lambda index, query: index.self_influence(),
        lambda index, query: index.store.thumbnails([0]),
    ],
)
@pytest.mark.parametrize("is_read_before", [False, True])
def test_what_is_gone_is_said_to_be_changed(build, tiny_images, read, change, is_read_before):
    opened = build()
    if is_read_before:
        opened.store.facts()
    CHANGES[change](build)
    with pytest.raises(IndexMismatchError, match=AGAIN):
        read(opened, tiny_images.subset([9]))


@pytest.mark.parametrize("change", CHANGES)
def test_a_trace_that_spans_a_change_says_so(build, tiny_images, monkeypatch, change):
    opened, query = build(), tiny_images.subset([9])
    opened.trace(query, top=2)
    real = QueryScoring.with_noise

    def score_during_change(self, block):
        CHANGES[change](build)
        return real(self, block)

    monkeypatch.setattr(QueryScoring, "with_noise", score_during_change)
    with pytest.raises(IndexMismatchError, match=AGAIN):
        cl.open_index(opened.path).trace(query, top=2)


def test_the_results_of_a_search_say_so_too(build, tiny_images):
    result = build().search(tiny_images.subset([9]), top=2)
    build().remove([2], purge=True)
    with pytest.raises(IndexMismatchError, match=AGAIN):
        result.to_pandas()


def test_an_addition_leaves_what_was_opened_as_it_was(build, tiny_images):
    opened, query = build(), tiny_images.subset([9])
    before = opened.trace(query, top=2)[0].proponents
    after = build().add(tiny_images.subset([10]))
    after.trace(query, top=2)
    for _ in range(2):
        hits = opened.trace(query, top=2)[0].proponents
        assert [hit.name for hit in hits] == [hit.name for hit in before]
        scores = [hit.score for hit in before]
        np.testing.assert_allclose([hit.score for hit in hits], scores, rtol=1e-5)
        assert [path.name for path in (after.path / "fitted").iterdir()] == [after._state.fit_name]


def test_what_is_stored_during_a_purge_does_not_outlast_it(build, tiny_images, monkeypatch):
    path, query = build().path, tiny_images.subset([9])
    real = factor_cache._write

    def write(part, method):
        real(part, method)
        build().remove([2], purge=True)

    monkeypatch.setattr(factor_cache, "_write", write)
    with pytest.raises(IndexMismatchError, match=AGAIN):
        cl.open_index(path).trace(query, top=2)
    assert not list((path / "fitted").glob("*"))
