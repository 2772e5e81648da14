"""The loss of a query under a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.errors import ModelError, NumericsError, SettingsError
from creditline.evaluation.truth.losses import LossPlan, measure_losses
from creditline.gradients.noise_plan import NoisePlan

PLAN = LossPlan(loss_timesteps=4, loss_draws=3)


class Oracle(torch.nn.Module):
    """A network whose output is a constant."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def forward(self, x_t):
        return self.value.expand_as(x_t)


def constant(denoiser, value, monkeypatch):
    network = Oracle(value)
    network.config = denoiser.module.config
    monkeypatch.setattr(denoiser, "module", network)
    monkeypatch.setattr(denoiser, "predict", lambda x_t, t, condition: network(x_t))
    return denoiser


def test_of_a_constant_prediction_is_known_in_closed_form(tiny_model, tiny_images, monkeypatch):
    """The target is the noise itself: the loss of the constant c is mean((c - eps)^2)."""
    plan = NoisePlan(timesteps=4, include_zero=False, draws=3)
    steps = plan.grid(1000, "query", "")
    assert steps.tolist() == [249, 499, 749, 999]
    losses = measure_losses(constant(tiny_model, 0.5, monkeypatch), tiny_images, PLAN)
    for key, loss in zip(tiny_images.ids, losses, strict=True):
        noise = plan.noise(steps, (3, 8, 8), "query", f"loss of {key}").astype(np.float64)
        assert loss == pytest.approx(((0.5 - noise) ** 2).mean(), rel=1e-6)


def test_of_a_predicted_image_is_its_distance(tiny_model, tiny_images, monkeypatch):
    """A network that predicts the image, and predicts black: the loss is the image's square."""
    monkeypatch.setattr(tiny_model.process, "prediction", "sample")
    losses = measure_losses(constant(tiny_model, 0.0, monkeypatch), tiny_images, PLAN)
    squares = tiny_images.pixels().double().square().mean((1, 2, 3))
    np.testing.assert_allclose(losses, squares, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 5, 12, 40])
def test_batches_change_rounding_only(tiny_model, tiny_images, batch_size):
    few = tiny_images.subset(range(5))
    expected = measure_losses(tiny_model, few, PLAN, batch_size=1000)
    assert expected.dtype == np.float64
    np.testing.assert_allclose(
        measure_losses(tiny_model, few, PLAN, batch_size), expected, rtol=1e-6
    )


def test_a_query_alone_or_in_another_order_has_the_same_loss(tiny_model, tiny_images):
    order = [7, 2, 9]
    together = measure_losses(tiny_model, tiny_images.subset(order), PLAN)
    alone = [measure_losses(tiny_model, tiny_images.subset([i]), PLAN)[0] for i in order]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_dropout_is_off_and_the_model_is_left_as_it_was(tiny_model, tiny_images):
    for part in tiny_model.module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.9
    tiny_model.module.train()
    few = tiny_images.subset([0])
    assert measure_losses(tiny_model, few, PLAN) == measure_losses(tiny_model, few, PLAN)
    assert tiny_model.module.training
    assert all(p.grad is None for p in tiny_model.module.parameters())


def test_more_noise_is_only_more_of_the_same(tiny_model, tiny_images):
    """Over many draws two seeds agree better than over few."""
    few = tiny_images.subset(range(4))

    def gap(draws):
        a, b = (measure_losses(tiny_model, few, LossPlan(3, draws, seed)) for seed in (0, 1))
        return np.abs(a - b).mean()

    assert 0 < gap(40) < gap(1)


def test_what_cannot_be_measured_is_refused(tiny_model, tiny_images):
    with pytest.raises(SettingsError, match=r"loss_draws must be in \[1, 100,000\]; got 0"):
        LossPlan(loss_draws=0)
    with pytest.raises(SettingsError, match="1000 timesteps"):
        measure_losses(tiny_model, tiny_images, LossPlan(loss_timesteps=1001))
    with torch.no_grad():
        tiny_model.module.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NumericsError, match=r"00000\.png is nan under the model UNet2DModel"):
        measure_losses(tiny_model, tiny_images, PLAN)
    tiny_model.image_shape = (3, 16, 16)
    with pytest.raises(ModelError, match="16x16"):
        measure_losses(tiny_model, tiny_images, PLAN)
