"""Masks on latents, packed or not: the mask, averaged by area, weighs the latents' places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tiny_pipelines import MAKERS

from creditline.data.mask import Mask
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers

PLAN = NoisePlan(timesteps=2, include_zero=False)


@pytest.mark.parametrize("name", MAKERS)
def test_a_region_is_the_loss_of_its_latents(load, captioned, name):
    model = load(name)
    _, h, w = model.sample_shape
    gray = np.zeros((16, 16))
    gray[:, : 16 // w * (w // 2)] = 255
    mask = Mask.from_gray(gray, (16, 16), "left")
    batch = model.encode(captioned, [0])
    (probe,) = expand(model, batch, PLAN, "train", masks=[mask])
    assert probe.weight.shape == (2, 1, h, w)
    layers = select_layers(model.module, "trained")
    result = AutogradEngine(model, layers, Objective()).gradients([probe])
    named = dict(model.module.named_parameters())
    names = [n for layer in layers for n in layer.parameters]
    for n in names:
        named[n].requires_grad_(True)
    x_t = model.process.add_noise(probe.x0, probe.noise, probe.t)
    error = model.predict(x_t, probe.t, probe.condition) - model.process.target(
        probe.x0, probe.noise, probe.t
    )
    loss = error.square()[:, :, :, : w // 2].mean()
    exact = torch.autograd.grad(loss, [named[n] for n in names], materialize_grads=True)
    exact = torch.cat([g.flatten() for g in exact])
    mine = torch.cat([layer[0, 0] for layer in result])
    assert torch.linalg.norm(mine - exact) <= 1e-4 * torch.linalg.norm(exact)
