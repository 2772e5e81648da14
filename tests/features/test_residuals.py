"""Residuals of images: root mean squared errors, whatever passes they are computed in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from creditline.errors import NumericsError
from creditline.features.residuals import ResidualExtractor
from creditline.gradients.caption_turns import expand_images
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=4, draws=2)


def roots(model, images, i):
    """Root mean squared errors of all evaluations of an image."""
    (x,) = expand_images(model, images, [i], PLAN, "train")
    with torch.no_grad():
        output = model.predict(model.process.add_noise(x.x0, x.noise, x.t), x.t, x.condition)
    target = model.process.target(x.x0, x.noise, x.t)
    return (output - target).square().flatten(1).mean(1).sqrt().numpy()


def test_they_are_mean_errors_plain_and_relative(tiny_model, tiny_images):
    residuals = ResidualExtractor([tiny_model], FeatureSpec(plan=PLAN)).extract(tiny_images, [3, 0])
    for row, i in zip(residuals[:, 0, 0], [3, 0], strict=True):
        errors = roots(tiny_model, tiny_images, i)
        assert_allclose(row, [errors.mean(), errors.mean() / np.linalg.norm(errors)], rtol=1e-5)


@pytest.mark.parametrize("normalize", ["none", "timestep"])
def test_halves_share_no_evaluation(tiny_model, tiny_images, normalize):
    spec = FeatureSpec(plan=PLAN, normalize=normalize)
    residuals = ResidualExtractor([tiny_model], spec).extract(tiny_images, [3], reduction="halves")
    errors = roots(tiny_model, tiny_images, 3)
    first = [0, 3, 4, 7] if normalize == "none" else [0, 1, 4, 5]
    a, b = errors[first].mean(), np.delete(errors, first).mean()
    assert_allclose(residuals[0, :, 0, 0], [(a + b) / 2, (a - b) / 2], rtol=1e-4, atol=1e-6)


def test_each_timestep_has_its_own(tiny_model, tiny_images):
    source = ResidualExtractor([tiny_model], FeatureSpec(plan=PLAN))
    residuals = source.extract(tiny_images, [3], reduction="timesteps")
    expected = roots(tiny_model, tiny_images, 3).reshape(4, 2).mean(1)
    assert_allclose(residuals[0, :, 0, 0], expected, rtol=1e-5)


def test_passes_and_other_images_change_nothing(tiny_model, tiny_images):
    wide = ResidualExtractor([tiny_model], FeatureSpec(plan=PLAN))
    narrow = ResidualExtractor([tiny_model], FeatureSpec(plan=PLAN, batch_size=3))
    expected = wide.extract(tiny_images, [1, 2])
    assert_allclose(narrow.extract(tiny_images, [2])[0], expected[1], rtol=1e-5)


def test_queries_have_none(tiny_model, tiny_images):
    source = ResidualExtractor([tiny_model], FeatureSpec(plan=PLAN))
    residuals = source.extract(tiny_images, [0, 1], "query", reduction="halves")
    assert residuals.shape == (2, 2, 1, 2)
    assert not residuals.any()


def test_losses_that_are_not_finite_are_refused(tiny_model, tiny_images):
    spec = replace(FeatureSpec(plan=PLAN), batch_size=2)
    with torch.no_grad():
        next(tiny_model.module.parameters()).fill_(float("nan"))
    with pytest.raises(NumericsError, match="not finite"):
        ResidualExtractor([tiny_model], spec).extract(tiny_images, [0])
