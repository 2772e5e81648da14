"""Learned weights of layers on an index: stored, and traced, searched and changed as its base."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.methods import layer_weights

SETTINGS = {"method": "learned-weights", "dim": 256, "timesteps": 4, "shard_rows": 5}


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path):
    return cl.index(tiny_model, tiny_images, out=tmp_path / "index", **SETTINGS)


@pytest.mark.slow
def test_weights_are_learned_once_and_shown(index, tiny_model, tiny_images, monkeypatch):
    queries = tiny_images.subset([2, 5])
    trace = index.trace(queries, top=5)
    facts = trace.settings["curvature"]
    assert len(facts["largest layer weights"]) == 5
    assert facts["layers"] == len(index.manifest.facts["blocks"])
    assert all(np.isfinite(hit.error) for hit in trace.queries[0].proponents)
    monkeypatch.setattr(layer_weights, "STEPS", 0)  # another fit would be another one
    again = cl.open_index(index.path, model=tiny_model)
    assert np.array_equal(again.scores(queries), index.scores(queries))
    together = index.scores(queries)
    apart = [index.scores(tiny_images.subset([i]))[0] for i in (2, 5)]
    assert_allclose(together, apart, rtol=1e-5, atol=1e-4)


@pytest.mark.slow
def test_the_base_scores_on_the_same_index(index, tiny_images):
    queries = tiny_images.subset([2])
    base = index.using("ekfac")
    assert base.method.index_settings() == index.method.index_settings()
    equal = index.using(weight_penalty=1e9).scores(queries)
    assert_allclose(equal, base.scores(queries), rtol=1e-2)
    assert np.ptp(index.scores(queries) / base.scores(queries)) > 0.01
    assert base.using("learned-weights").method == index.method


@pytest.mark.slow
def test_it_is_searched_and_changed(index, tiny_images):
    queries = tiny_images.subset([2])
    rows = index.search(queries, top=3).rows[0].tolist()
    assert [hit.row for hit in index.trace(queries, top=3).queries[0].proponents] == rows
    changed = index.remove([0]).add(tiny_images.subset([0]))
    assert changed.n == index.n
    order = [*range(1, 12), 0]
    assert_allclose(
        changed.scores(queries)[0], index.scores(queries)[0, order], rtol=1e-5, atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("base", ["trak", "d-trak"])
def test_other_bases_have_their_own_features(tiny_model, tiny_images, tmp_path, base):
    index = cl.index(tiny_model, tiny_images, out=tmp_path / base, base=base, bits=16, **SETTINGS)
    queries = tiny_images.subset([2])
    assert index.using(base).method.features == index.method.base_method().features
    assert not np.allclose(index.scores(queries), index.using(base).scores(queries))


@pytest.mark.slow
def test_a_joint_layout_is_refused(tiny_model, tiny_images, tmp_path):
    with pytest.raises(cl.CreditlineError, match="--layout layers"):
        cl.index(tiny_model, tiny_images, out=tmp_path / "joint", layout="joint", **SETTINGS)
    joint = cl.index(tiny_model, tiny_images, method="ekfac", out=tmp_path / "ekfac", dim=64)
    with pytest.raises(cl.CreditlineError, match="--layout layers"):
        joint.using("learned-weights")
