"""What a curvature covers is what a fit finds, counted from shapes alone."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tiny_pipelines import make as make_pipeline
from tests.tiny_pipelines import random_images

import creditline as cl
from creditline.doctor import diagnose
from creditline.features.gradients import GradientExtractor
from creditline.gradients.parameters import select_layers
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.coverage import CurvatureCoverage
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

SETTINGS = {"preconditioner_draws": 8}


def fit(model, images, kind):
    spec = FeatureSpec(
        projection=Projection("none"), preconditioning=Preconditioning(kind, **SETTINGS)
    )
    source = GradientExtractor([model], spec)
    source.fit(images)
    return source.states[0].preconditioner, source


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ekfac", "kfac", "diagonal-fisher"])
def test_a_pixel_model(tiny_model, tiny_images, kind):
    curvature, source = fit(tiny_model, tiny_images, kind)
    covered = CurvatureCoverage.of(tiny_model.module, source.layers, kind)
    bases = getattr(curvature, "bases_", [None] * len(source.layers))
    sizes = [layer.size for layer, own in zip(source.layers, bases, strict=True) if own]
    assert covered.kronecker == sum(sizes)
    assert covered.kronecker + covered.diagonal == source.parameters
    assert covered.bytes == sum(array.nbytes for array in curvature.state().values())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd", "dit"])
def test_a_pipeline(name):
    model = cl.load_model(make_pipeline(name))
    curvature, source = fit(model, random_images(8), "ekfac")
    covered = CurvatureCoverage.of(model.module, source.layers, "ekfac")
    assert covered.bytes == sum(array.nbytes for array in curvature.state().values())
    left = [x.name for x, own in zip(source.layers, curvature.bases_, strict=True) if own is None]
    assert list(covered.diagonal_layers) == left


@pytest.mark.slow
def test_the_doctor_says_so(tiny_model, tiny_images):
    small = {"dim": 64, "bits": 16, "timesteps": 2, "preconditioner_draws": 8}
    finding = diagnose(tiny_model, tiny_images, method="ekfac", **small)["curvature"]
    covered = CurvatureCoverage.of(tiny_model.module, select_layers(tiny_model.module), "ekfac")
    assert f"{covered.kronecker:,} parameters ({covered.share:.2%})" in finding.text
    assert 0.5 < covered.share < 1
    assert np.isfinite(covered.rotation)
