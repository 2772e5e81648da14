"""The process agrees with its own inverses, with diffusers and with the papers."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
)

from creditline.diffusion.config import DiscretePrediction
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError, NumericsError

SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace")
STEPS = torch.tensor([0, 1, 250, 700, 998])


def tensors(dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    shape = (len(STEPS), 3, 4, 4)
    return tuple(torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))


@pytest.mark.parametrize("prediction", get_args(DiscretePrediction))
@pytest.mark.parametrize("zero_snr", [False, True])
def test_a_perfect_output_gives_back_noise_and_image(prediction, zero_snr):
    scheduler = DDPMScheduler(prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    process = DiscreteProcess.from_scheduler(scheduler)
    x0, noise = tensors()
    x_t = process.add_noise(x0, noise, STEPS)
    output = process.target(x0, noise, STEPS)
    torch.testing.assert_close(process.to_epsilon(output, x_t, STEPS), noise, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(process.to_x0(output, x_t, STEPS), x0, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noising_and_velocity_agree_with_diffusers(schedule):
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type="v_prediction")
    process = DiscreteProcess.from_scheduler(scheduler)
    x0, noise = tensors(torch.float32)
    ours, theirs = process.add_noise(x0, noise, STEPS), scheduler.add_noise(x0, noise, STEPS)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    velocity = scheduler.get_velocity(x0, noise, STEPS)
    torch.testing.assert_close(process.target(x0, noise, STEPS), velocity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_config_and_object_give_one_process_that_ddim_can_sample(schedule):
    scheduler = DDPMScheduler(beta_schedule=schedule)
    process = DiscreteProcess.from_scheduler(scheduler)
    again = DiscreteProcess.from_scheduler(dict(scheduler.config))
    assert again.to_dict() == process.to_dict()
    sampler = DDIMScheduler.from_config(process.config)
    assert torch.equal(sampler.betas.double(), process.betas)


def test_squared_scales_sum_to_one_and_fall_with_time():
    process = DiscreteProcess.from_scheduler(DDPMScheduler())
    a, s = process.signal_noise(torch.arange(1000))
    assert a.dtype == s.dtype == torch.float64
    torch.testing.assert_close(a**2 + s**2, torch.ones(1000, dtype=torch.float64))
    assert (a.diff() < 0).all()


def test_half_precision_images_keep_their_type():
    process = DiscreteProcess.from_scheduler(DDPMScheduler())
    x0, noise = tensors(torch.bfloat16)
    assert process.add_noise(x0, noise, STEPS).dtype == torch.bfloat16


def test_elbo_weight_is_the_bound_of_ddpm():
    process = DiscreteProcess.from_scheduler(DDPMScheduler())
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float32).double()
    abar = torch.cumprod(1 - betas, 0)
    # DDPM equation 12 with sigma_t^2 = beta_t, and its first value by hand: 1 / (2 (1 - beta_0)).
    expected = betas**2 / (2 * betas * (1 - betas) * (1 - abar))
    torch.testing.assert_close(process.elbo_weight(torch.arange(1000)), expected)
    assert float(process.elbo_weight(torch.tensor([0]))) == pytest.approx(0.5 / (1 - 1e-4))


def test_the_bound_weighs_image_errors_by_half_the_change_of_snr():
    # Kingma et al. (2021), eq. 13: 1/2 (SNR(t-1) - SNR(t)) |x0 - x0_hat|^2. It uses the smaller
    # posterior variance where DDPM's sigma_t^2 = beta_t; their ratio is (1-abar_{t-1})/(1-abar_t).
    process = DiscreteProcess.from_scheduler(DDPMScheduler())
    t = torch.tensor([5, 100, 900])
    a, s = process.signal_noise(t)
    before_a, before_s = process.signal_noise(t - 1)
    snr, before = (a / s) ** 2, (before_a / before_s) ** 2
    per_image_error = process.elbo_weight(t) * snr
    posterior = (before_s / s) ** 2
    torch.testing.assert_close(per_image_error / posterior, 0.5 * (before - snr), rtol=1e-6, atol=0)


def test_without_signal_the_image_is_not_guessed():
    scheduler = DDPMScheduler(rescale_betas_zero_snr=True)
    process = DiscreteProcess.from_scheduler(scheduler)
    last = torch.tensor([3, 999])
    x = torch.ones(2, 3, 4, 4)
    assert float(process.signal_noise(last)[0][1]) == 0
    with pytest.raises(NumericsError, match="Timestep 999 has no signal"):
        process.to_x0(x, x, last)
    with pytest.raises(NumericsError, match="Timestep 999 has an infinite weight"):
        process.elbo_weight(last)
    assert torch.equal(process.to_epsilon(x, x, last), x)


def test_without_noise_the_noise_is_not_guessed():
    process = DiscreteProcess([0.0, 0.1], "sample")
    x = torch.ones(1, 3, 4, 4)
    with pytest.raises(NumericsError, match="Timestep 0 has no noise"):
        process.to_epsilon(x, x, torch.tensor([0]))


def test_processes_with_the_same_ends_are_distinguished():
    one, other = DiscreteProcess([0.1, 0.2, 0.3]), DiscreteProcess([0.1, 0.25, 0.3])
    assert one.to_dict()["betas"] == other.to_dict()["betas"]
    assert one.to_dict() != other.to_dict()


@pytest.mark.parametrize("step", [-1, 1000])
def test_timesteps_outside_the_process_are_refused(step):
    process = DiscreteProcess.from_scheduler(DDPMScheduler())
    with pytest.raises(ModelError, match="from 0 to 999"):
        process.signal_noise(torch.tensor([5, step]))


def test_any_scheduler_with_betas_will_do():
    ddpm = DiscreteProcess.from_scheduler(DDPMScheduler())
    assert DiscreteProcess.from_scheduler(EulerDiscreteScheduler()).to_dict() == ddpm.to_dict()


@pytest.mark.parametrize("given_scheduler", [FlowMatchEulerDiscreteScheduler(), dict])
def test_a_flow_is_not_mistaken_for_ddpm(given_scheduler):
    if given_scheduler is dict:
        given_scheduler = dict(FlowMatchEulerDiscreteScheduler().config)
        given_scheduler["_class_name"] = "FlowMatchEulerDiscreteScheduler"
    with pytest.raises(ModelError, match="FlowMatchEulerDiscreteScheduler has no betas"):
        DiscreteProcess.from_scheduler(given_scheduler)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "FancyScheduler"}, "FancyScheduler"),
        ({"_class_name": "UNet2DModel"}, "UNet2DModel"),
        ({"beta_schedule": "wavy"}, "wavy"),
        ({"prediction_type": "flow_prediction"}, "flow_prediction"),
    ],
)
def test_unusable_configs_are_refused(config, message):
    with pytest.raises(ModelError, match=message):
        DiscreteProcess.from_scheduler(config)


@pytest.mark.parametrize("betas", [[[0.1]], [0.1, 1.5], [float("nan")]])
def test_betas_must_be_one_list_of_variances(betas):
    with pytest.raises(ModelError, match="between 0 and 1"):
        DiscreteProcess(betas)
