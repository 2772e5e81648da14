"""What is measured at a query: another objective, or single timesteps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

import creditline as cl
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective

SETTINGS = {"dim": 64, "timesteps": 4}


@pytest.fixture
def index(tiny_model, tiny_images, tmp_path):
    return cl.index(tiny_model, tiny_images, method="trak", out=tmp_path / "trak", **SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["elbo", "square-norm", "average"])
def test_a_query_s_feature_is_the_gradient_of_its_measure(
    index, tiny_model, tiny_images, objective
):
    method, queries = index.using(query_objective=objective).method, tiny_images.subset([1])
    spec = replace(method.features, objective=Objective(objective))
    source = GradientExtractor([tiny_model], spec, method.query_plan)
    features = source.extract(queries, [0], "query", reduction="halves")
    own = index.using(query_objective=objective).extract(queries)
    assert_allclose(own.values[:, 0], features[:, 0], rtol=1e-4, atol=1e-7)
    other = index.using(query_objective=objective).scores(queries)
    assert np.abs(other - index.scores(queries)).max() > 0


@pytest.mark.slow
def test_the_loss_at_one_timestep(index, tiny_model, tiny_images):
    queries = tiny_images.subset([1])
    at = index.using(query_timesteps=(500,), query_draws=2)
    plan = NoisePlan("list", timesteps=1, timestep_list=(500,), draws=2)
    assert at.method.query_plan == plan
    source = GradientExtractor([tiny_model], index.method.features, plan)
    features = source.extract(queries, [0], "query", reduction="halves")
    assert_allclose(at.extract(queries).values[:, 0], features[:, 0], rtol=1e-4, atol=1e-7)


@pytest.mark.slow
def test_timesteps_that_the_process_lacks_are_refused(index, tiny_images):
    with pytest.raises(cl.CreditlineError, match="below 1000"):
        index.using(query_timesteps=(1000,)).scores(tiny_images.subset([1]))
