"""A sum of two methods, each on a feature set of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.errors import IndexMismatchError
from creditline.gradients.objective import Objective
from creditline.methods import FitContext, GradientMethod, MethodSum
from creditline.methods.d_trak import DTRAK
from creditline.methods.gradient_cosine import GradientCosine
from creditline.methods.trak import TRAK


@dataclass
class LossAndNorm(MethodSum, GradientMethod):
    """TRAK plus half of D-TRAK."""

    name: ClassVar = "loss-and-norm"
    title: ClassVar = "Loss and norm"
    paper: ClassVar = "an example of a sum"
    formula: ClassVar = "TRAK(q, i) + D-TRAK(q, i) / 2"
    needs: ClassVar = "a model"
    cost: ClassVar = "twice TRAK's"

    def terms(self):
        norm = replace(self.features, objective=Objective("square-norm"))
        return {
            "loss": (1.0, TRAK(features=self.features)),
            "norm": (0.5, DTRAK(features=norm)),
        }


@dataclass
class UnevenChunks(LossAndNorm):
    """The same with a term whose factors come in other chunks."""

    name: ClassVar = "uneven-chunks"

    def terms(self):
        cosine = GradientCosine(features=self.features)
        return {"loss": (1.0, TRAK(features=self.features)), "other": (2.0, cosine)}


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path):
    method = LossAndNorm()
    settings = {"timesteps": 3, "dim": 64, "shard_rows": 5}
    return cl.index(tiny_model, tiny_images, method=method, out=tmp_path / "sum", **settings)


@pytest.mark.slow
def test_scores_are_the_sum_of_those_of_two_indexes(index, tiny_model, tiny_images, tmp_path):
    assert index.dim == 128
    assert dict(index.store.schema.feature_sets) == {"loss": 64, "norm": 64}
    settings = {"timesteps": 3, "dim": 64}
    terms = [
        cl.index(tiny_model, tiny_images, method=name, out=tmp_path / name, **settings)
        for name in ("trak", "d-trak")
    ]
    queries = tiny_images.subset([1, 7])
    first, second = (term.scores(queries) for term in terms)
    expected = first + second / 2
    # A feature rounds by the pass that it is computed in.
    close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(expected).max()}
    assert_allclose(index.scores(queries), expected, **close)
    own = [term.self_influence() for term in terms]
    assert_allclose(index.self_influence(), own[0] + own[1] / 2, **close)
    error = index.noise(index.extract(queries)).error
    assert (error > 0).all()
    trace = index.trace(queries, top=12)
    for row, query in zip(expected, trace, strict=True):
        for hit in (*query.proponents, *query.opponents):
            assert_allclose(hit.score, row[hit.row], rtol=1e-3, atol=1e-6 * np.abs(row).max())


@pytest.mark.slow
def test_an_index_of_several_sets_is_changed_and_opened_again(index, tiny_model, tiny_images):
    queries = tiny_images.subset([0, 3])
    index.trace(queries)
    before = index.scores(queries)
    after = index.remove([11]).add(tiny_images.subset([11]))
    close = {"rtol": 1e-4, "atol": 1e-5 * np.abs(before).max()}  # features round by their pass
    assert_allclose(after.scores(queries), before, **close)
    again = cl.open_index(index.path, model=tiny_model)
    assert_allclose(again.scores(queries), before, **close)
    assert index.using("trak").scores(queries).shape == before.shape  # one of the parts
    with pytest.raises(IndexMismatchError, match="the preconditioner 'ekfac'"):
        index.using("ekfac")


def test_factors_of_terms_are_joined_whatever_their_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    train, query = rng.standard_normal((50, 1, 80)), rng.standard_normal((4, 1, 80))
    context = FitContext(features=train, feature_sets={"loss": 60, "other": 20})
    method = UnevenChunks().fit(context)
    factors = np.concatenate([rows for _, rows in method.train_factors(0, 60_000)])
    scores = method.weighted_query_factors(query)[:, 0] @ factors.T
    trak = TRAK().fit(FitContext(features=train[..., :60])).attribute(query[..., :60])
    cosine = GradientCosine().fit(FitContext(features=train[..., 60:])).attribute(query[..., 60:])
    assert_allclose(scores, trak + 2 * cosine, rtol=1e-8, atol=1e-10)
    assert_allclose(method.attribute(query), trak + 2 * cosine, rtol=1e-8, atol=1e-10)
    starts = [start for start, _ in method.train_factors(0, 60_000, first=7)]
    assert starts[0] == 7
