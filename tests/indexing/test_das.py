"""DAS and ReTrac on an index: gradients beside residuals, checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl

SETTINGS = {"dim": 64, "timesteps": 4, "shard_rows": 5}


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path):
    return cl.index(tiny_model, tiny_images, method="das", out=tmp_path / "das", **SETTINGS)


@pytest.mark.slow
def test_das_is_traced_searched_and_changed(index, tiny_images):
    queries = tiny_images.subset([2])
    trace = index.trace(queries, top=5).queries[0]
    assert [hit.row for hit in trace.proponents] == index.search(queries, top=5).rows[0].tolist()
    assert all(np.isfinite(hit.error) for hit in trace.proponents)
    assert trace.proponents[0].row == 2
    changed = index.remove([0]).add(tiny_images.subset([0]))
    assert changed.n == index.n
    assert np.isfinite(changed.scores(queries)).all()


@pytest.mark.slow
def test_squared_credit_counts_opponents(index, tiny_images):
    queries = tiny_images.subset([2])
    squared = index.using(transform="squared")
    assert_allclose(
        squared.method.score_transform.apply(index.scores(queries)), index.scores(queries) ** 2
    )
    with pytest.raises(cl.CreditlineError, match="Squared scores"):
        squared.search(queries)


@pytest.mark.slow
def test_other_residuals_use_the_same_index(index, tiny_images):
    queries = tiny_images.subset([2])
    plain = index.using(residual="none", leverage=False).scores(queries)
    with_residual = index.using(leverage=False).scores(queries)
    ratio = with_residual / plain
    assert (ratio > 0).all()
    assert np.ptp(ratio) > 0.01
