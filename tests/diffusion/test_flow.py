"""Rectified flow: a straight line, diffusers' noise levels, and Euler sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.euler import EulerSampler, euler_timesteps
from creditline.diffusion.flow import FlowProcess
from creditline.diffusion.sampling import sample
from creditline.errors import ModelError, NumericsError, SettingsError


@pytest.fixture(params=[1.0, 3.0])
def scheduler(request):
    return FlowMatchEulerDiscreteScheduler(shift=request.param)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 4, 2, 4, 4, generator=generator)
    return x0, noise, torch.tensor([0, 300, 700, 999])


def test_noising_is_that_of_the_scheduler(scheduler, tensors):
    x0, noise, t = tensors
    process = FlowProcess.from_scheduler(scheduler)
    times = process.network_time(t).float()
    theirs = scheduler.scale_noise(x0, scheduler.timesteps[999 - t], noise)
    torch.testing.assert_close(process.add_noise(x0, noise, t), theirs)
    torch.testing.assert_close(times, scheduler.timesteps[999 - t])


def test_the_velocity_implies_noise_and_image(scheduler, tensors):
    x0, noise, t = tensors
    process = FlowProcess.from_scheduler(scheduler)
    x_t, velocity = process.add_noise(x0, noise, t), process.target(x0, noise, t)
    torch.testing.assert_close(process.to_x0(velocity, x_t, t), x0, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(process.to_epsilon(velocity, x_t, t), noise, rtol=1e-4, atol=1e-5)
    signal, level = process.signal_noise(t)
    torch.testing.assert_close(signal + level, torch.ones(4, dtype=torch.float64))


def test_the_variational_weight_is_the_fall_of_the_log_signal_to_noise_ratio():
    process = FlowProcess.from_scheduler(FlowMatchEulerDiscreteScheduler())
    t = torch.tensor([200, 500, 900])
    signal, level = process.signal_noise(torch.stack([t, t - 1]).flatten())
    ratio = (2 * (signal / level).log()).view(2, 3)
    torch.testing.assert_close(process.elbo_weight(t), (ratio[1] - ratio[0]) / 2, rtol=5e-3, atol=0)
    with pytest.raises(NumericsError, match="Timestep 999 is pure noise"):
        process.elbo_weight(torch.tensor([999]))


def test_what_a_scheduler_did_before_does_not_matter(scheduler):
    before = FlowProcess.from_scheduler(scheduler).to_dict()
    scheduler.set_timesteps(5)
    assert FlowProcess.from_scheduler(scheduler).to_dict() == before
    assert FlowProcess.from_scheduler(dict(scheduler.config)).to_dict() == before


def test_what_is_no_flow_is_refused():
    with pytest.raises(ModelError, match="DDPMScheduler is not of a rectified flow"):
        FlowProcess.from_scheduler(DDPMScheduler())
    with pytest.raises(ModelError, match="invert_sigmas"):
        FlowProcess.from_scheduler(FlowMatchEulerDiscreteScheduler(invert_sigmas=True))
    with pytest.raises(ModelError, match="must rise"):
        FlowProcess(np.array([0.5, 0.4]), {})
    process = FlowProcess.from_scheduler(FlowMatchEulerDiscreteScheduler())
    with pytest.raises(ModelError, match="from 0 to 999; got 1000"):
        process.add_noise(torch.zeros(1), torch.zeros(1), torch.tensor([1000]))


class Oracle(Denoiser):
    """A flow that knows the only clean image."""

    module = torch.nn.Linear(1, 1)
    sample_shape = (3, 4, 4)
    sampler = EulerSampler()

    def __init__(self, process):
        self.process = process
        self.clean = torch.linspace(-1, 1, 48).view(3, 4, 4)

    def encode(self, images, indices):
        raise AssertionError("sampling encodes no image")

    def predict(self, x_t, t, condition):
        sigma = self.process.signal_noise(t)[1].float().view(-1, 1, 1, 1)
        return (x_t - self.clean) / sigma


@pytest.mark.parametrize("steps", [1, 7])
def test_euler_steps_end_at_the_image(scheduler, steps):
    oracle = Oracle(FlowProcess.from_scheduler(scheduler))
    generated_images, (timesteps, runs) = sample(oracle, [1, 2], steps=steps)
    expected = ((oracle.clean + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(generated_images.astype(float) - expected).max() <= 1
    assert timesteps[0] == 999
    assert (np.diff(timesteps) < 0).all()
    np.testing.assert_allclose(runs, np.broadcast_to(oracle.clean, runs.shape), atol=1e-4)
    with pytest.raises(SettingsError, match="eta is 0"):
        sample(oracle, [1], steps=steps, eta=0.5)


def test_steps_are_those_of_the_scheduler_to_the_nearest_level(scheduler):
    process = FlowProcess.from_scheduler(scheduler)
    result = process.sigmas[euler_timesteps(process, 16, 8)]
    scheduler.set_timesteps(8)
    assert (result - scheduler.sigmas[:-1]).abs().max() < 2e-3
