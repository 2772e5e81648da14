"""Mirrored training images, for models that were trained with flips."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from tests.tiny_pipelines import make as make_pipeline

import creditline as cl
from creditline.data.image_set import ImageSet
from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=4, mirror=True)


def test_training_images_are_mirrored_and_queries_are_not(tiny_model, tiny_images):
    batch = tiny_model.encode(tiny_images, [0])
    (train,) = expand(tiny_model, batch, PLAN, "train")
    (query,) = expand(tiny_model, batch, PLAN, "query")
    mirrored = PLAN.mirrored(4)
    assert mirrored.sum() == 2
    assert np.array_equal(train.x0[~mirrored], query.x0[~mirrored])
    assert np.array_equal(train.x0[mirrored], query.x0[mirrored].flip(-1))
    assert (query.x0 == batch.x0).all()


@pytest.mark.slow
def test_only_mirrored_evaluations_change_the_gradient(tiny_model, tiny_images):
    spec = FeatureSpec(plan=PLAN, projection=Projection("none"))
    source = GradientExtractor([tiny_model], spec)
    mirrored = source.extract(tiny_images, [0], reduction="timesteps")[0, :, 0]
    plain = FeatureSpec(plan=NoisePlan(timesteps=4), projection=Projection("none"))
    own = GradientExtractor([tiny_model], plain)
    expected = own.extract(tiny_images, [0], reduction="timesteps")[0, :, 0]
    change = np.abs(mirrored - expected).max(1)
    assert_allclose(change[~PLAN.mirrored(4)], 0, atol=1e-6)
    assert (change[PLAN.mirrored(4)] > 1e-3).all()


def test_curvature_sees_both(tiny_model, tiny_images):
    settings = Preconditioning("ekfac", preconditioner_draws=240)
    rows = list(range(len(tiny_images)))
    draws = CurvatureDraws(settings, len(tiny_images), mirror=True)
    both = draws.noised_images(tiny_model, tiny_images, rows, 0)
    own = [tiny_model.encode(tiny_images, [row]).x0 for row in rows]
    kinds = [
        [bool((x == image[0]).all()) for x in noised.x0]
        for noised, image in zip(both, own, strict=True)
    ]
    assert 0.35 < np.mean(kinds) < 0.65
    for noised, image, plain in zip(both, own, kinds, strict=True):
        for x, is_plain in zip(noised.x0, plain, strict=True):
            assert (x == (image[0] if is_plain else image[0].flip(-1))).all()


def test_latents_are_not_mirrored():
    model = cl.load_model(make_pipeline("sd"))
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    images = ImageSet.from_images(pixels, texts=["a cat", "a dog"])
    source = GradientExtractor([model], FeatureSpec(plan=PLAN, projection=Projection(dim=32)))
    with pytest.raises(SettingsError, match="--no-mirror"):
        source.check(images)
