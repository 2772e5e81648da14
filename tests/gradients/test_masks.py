"""Gradients of a part of a image: identities, and a masked loss written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from creditline.data.mask import Mask
from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import Trajectory, expand, join
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=3, draws=2)
SUMS = ["simple", "elbo", "square-norm", "average", "interpolation"]
EDGE = 0.3
LEFT, RIGHT = (Mask.from_box(box, (8, 8)) for box in ((0, 0, EDGE, 1), (EDGE, 0, 1, 1)))
ONES = Mask.from_gray(np.full((16, 16), 77.0), (8, 8), "ones")


def features(model, images, masks=None, indices=(0, 1, 2), plan=PLAN, **settings):
    objective = Objective(settings.pop("objective", "simple"), p=settings.pop("p", 2.0))
    projection = Projection(dim=64)
    spec = FeatureSpec(objective=objective, plan=plan, projection=projection, **settings)
    every = None if masks is None else [*masks, *[None] * (len(images) - len(masks))]
    return GradientExtractor([model], spec).extract(images.with_masks(every), indices)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["hooks", "autograd"])
@pytest.mark.parametrize("objective", [*SUMS, "p-norm"])
def test_a_mask_of_ones_is_bitwise_equal_to_no_mask(tiny_model, tiny_images, objective, engine):
    settings = {"objective": objective, "engine": engine, "p": 3.0}
    full = features(tiny_model, tiny_images, **settings)
    assert np.array_equal(features(tiny_model, tiny_images, [ONES] * 3, **settings), full)


@pytest.mark.slow
@pytest.mark.parametrize("objective", SUMS)
def test_gradients_of_complementary_masks_add_up(tiny_model, tiny_images, objective):
    full, left, right = (
        features(tiny_model, tiny_images, masks, objective=objective)
        for masks in (None, [LEFT] * 3, [RIGHT] * 3)
    )
    parts = LEFT.share * left + RIGHT.share * right
    assert_allclose(parts, full, rtol=0, atol=1e-5 * np.abs(full).max())
    assert np.abs(left - full).max() > 1e-2 * np.abs(full).max()


@pytest.mark.parametrize("kind", [AutogradEngine, HookEngine])
def test_equal_to_autograd_of_a_masked_loss(tiny_model, tiny_images, kind):
    """The mean of squares over the pixels that count: white is 1 over their number."""
    gray = np.zeros((8, 8))
    gray[2:5, 1:7] = 255
    mask = Mask.from_gray(gray, (8, 8), "m")
    batch = tiny_model.encode(tiny_images, [0])
    (noised,) = expand(tiny_model, batch, PLAN, "train", masks=[mask])
    noised = noised.to(tiny_model.device, tiny_model.dtype)
    layers = select_layers(tiny_model.module, "*")
    results = kind(tiny_model, layers, Objective()).gradients([noised])
    output = tiny_model.predict(
        tiny_model.process.add_noise(noised.x0, noised.noise, noised.t), noised.t, {}
    )
    loss = (output - noised.noise).square()[:, :, 2:5, 1:7].mean()
    names = [name for layer in layers for name in layer.parameters]
    named = dict(tiny_model.module.named_parameters())
    exact = torch.autograd.grad(loss, [named[name] for name in names], materialize_grads=True)
    exact = torch.cat([g.flatten() for g in exact])
    mine = torch.cat([layer[0, 0] for layer in results])
    assert torch.linalg.norm(mine - exact) <= 1e-5 * torch.linalg.norm(exact)


@pytest.mark.slow
def test_a_masked_feature_does_not_depend_on_other_images_in_the_call(tiny_model, tiny_images):
    masks = [LEFT, None, RIGHT]
    for settings in ({}, {"batch_size": 1}, {"batch_size": 5}, {"normalize": "timestep"}):
        together = features(tiny_model, tiny_images, masks, **settings)
        alone = np.concatenate(
            [features(tiny_model, tiny_images, masks, [i], **settings) for i in range(3)]
        )
        assert_allclose(together, alone, rtol=0, atol=1e-5 * np.abs(together).max())
    full = features(tiny_model, tiny_images)
    assert_allclose(features(tiny_model, tiny_images, masks)[1], full[1], rtol=1e-4, atol=1e-6)


def test_joined_images_keep_their_weights(tiny_model, tiny_images):
    batch = tiny_model.encode(tiny_images, [0, 1])
    joined = join(expand(tiny_model, batch, PLAN, "train", masks=[LEFT, None]))
    assert joined.weight is not None
    assert_allclose(joined.weight[0, 0], LEFT.on((8, 8)))
    assert (joined.weight[6:] == 1).all()
    assert join(expand(tiny_model, batch, PLAN, "train")).weight is None


def test_a_mask_along_a_trajectory(tiny_model, tiny_images):
    shape = (3, *tiny_model.sample_shape)
    run = Trajectory(np.array([900, 500, 0]), np.ones(shape, np.float32))
    batch = tiny_model.encode(tiny_images, [0])
    plan = NoisePlan("trajectory")
    (noised,) = expand(tiny_model, batch, plan, "query", [run], [LEFT])
    assert noised.weight is not None
    assert noised.weight.shape == (3, 1, 8, 8)


@pytest.mark.slow
def test_a_mask_is_refused_for_infinite_p(tiny_model, tiny_images):
    spec = FeatureSpec(objective=Objective("p-norm", p=float("inf")), plan=PLAN)
    source = GradientExtractor([tiny_model], spec)
    source.check(tiny_images)
    with pytest.raises(SettingsError, match="is their maximum"):
        source.check(tiny_images.with_masks([LEFT] * 12))
