"""The sum of EK-FAC influence and D-TRAK, each in units of its spread, on an index."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.methods import get

METHOD = get("combined")()
FEATURES = replace(
    METHOD.features,
    plan=NoisePlan(timesteps=4),
    projection=Projection("count-sketch", 512),
    preconditioning=Preconditioning("ekfac", preconditioner_draws=24),
)
SMALL = replace(METHOD, features=FEATURES, square_norm_dim=64, square_norm_weight=0.5)


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path):
    return cl.index(tiny_model, tiny_images, method=SMALL, out=tmp_path / "sum", shard_rows=5)


@pytest.mark.slow
def test_scores_are_the_sum_of_both_in_units_of_their_spread(
    index, tiny_model, tiny_images, tmp_path
):
    queries, expected = tiny_images.subset([2, 5, 9]), 0.0
    for name, (weight, term) in SMALL.terms().items():
        alone = cl.index(tiny_model, tiny_images, method=term, out=tmp_path / name, shard_rows=5)
        scores = alone.scores(queries)
        expected = expected + weight * scores / scores.std(axis=1, keepdims=True)
    plain = replace(SMALL, score_transform=replace(SMALL.score_transform, transform="plain"))
    # Codes are multiplied in float32.
    assert_allclose(index.using(plain).scores(queries), expected, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "feature_set"), [("ekfac", "loss"), ("d-trak", "square-norm")])
def test_a_method_of_one_part_scores_on_the_same_index(
    index, tiny_model, tiny_images, tmp_path, name, feature_set
):
    queries = tiny_images.subset([2, 5, 9])
    own = index.using(name)
    assert own.method.features == SMALL.terms()[feature_set][1].features
    alone = cl.index(tiny_model, tiny_images, method=own.method, out=tmp_path / "own", shard_rows=5)
    assert np.array_equal(own.scores(queries), alone.scores(queries))
    trace, expected = own.trace(queries, top=5), alone.trace(queries, top=5)
    for one, other in zip(trace.queries, expected.queries, strict=True):
        assert [hit.row for hit in one.proponents] == [hit.row for hit in other.proponents]
        assert [hit.error for hit in one.proponents] == [hit.error for hit in other.proponents]
    assert np.array_equal(own.search(queries, top=3).rows, alone.search(queries, top=3).rows)
    assert_allclose(own.self_influence(), alone.self_influence())
    assert cl.open_index(index.path).using(name).method == own.method


@pytest.mark.slow
def test_a_method_of_other_features_is_refused(index):
    with pytest.raises(cl.CreditlineError, match="Build an index with --method relative-if"):
        index.using("relative-if")


@pytest.mark.slow
def test_it_is_traced_searched_and_changed(index, tiny_images):
    queries = tiny_images.subset([2])
    trace = index.trace(queries, top=5).queries[0]
    assert [hit.row for hit in trace.proponents] == index.search(queries, top=5).rows[0].tolist()
    assert all(np.isfinite(hit.error) for hit in trace.proponents)
    changed = index.remove([0]).add(tiny_images.subset([0]))
    assert changed.n == index.n
    assert np.isfinite(changed.scores(queries)).all()
