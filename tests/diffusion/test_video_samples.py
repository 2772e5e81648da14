"""Samples of five dimensions, as those of videos: process, noise, masks, gradients and an index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

import creditline as cl
from creditline.data.mask import Mask
from creditline.diffusion.ddim import DDIMSampler
from creditline.diffusion.denoiser import Batch, Denoiser
from creditline.diffusion.flow import FlowProcess
from creditline.diffusion.guidance import GuidedDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand, join
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers

FRAMES, SIDE = 2, 8
PLAN = NoisePlan(timesteps=2, draws=2, include_zero=False)


class Video(torch.nn.Module):
    """Two convolutions over frames, height and width, and a linear map of the timestep."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv3d(3, 4, 3, padding=1)
        self.time = torch.nn.Linear(1, 4)
        self.last = torch.nn.Conv3d(4, 3, 3, padding=1)

    def forward(self, x, t):
        time = self.time(t[:, None].to(x.dtype) / 1000)
        return self.last(torch.tanh(self.first(x) + time[:, :, None, None, None]))


class VideoDenoiser(Denoiser):
    """Shows every image as frames that do not move."""

    sample_shape, image_shape = (3, FRAMES, SIDE, SIDE), (3, SIDE, SIDE)
    sampler = DDIMSampler()

    def __init__(self, process):
        torch.manual_seed(0)
        self.module, self.process = Video(), process

    def encode(self, images, indices):
        frames = images.pixels(indices)[:, :, None].expand(-1, -1, FRAMES, -1, -1)
        return Batch(frames, {}, tuple(images.ids[i] for i in indices))

    def predict(self, x_t, t, condition):
        return self.module(x_t, t)


PROCESSES = {
    "ddpm": lambda: DiscreteProcess.from_scheduler(DDPMScheduler()),
    "v": lambda: DiscreteProcess.from_scheduler(DDPMScheduler(prediction_type="v_prediction")),
    "flow": lambda: FlowProcess.from_scheduler(FlowMatchEulerDiscreteScheduler()),
}


@pytest.fixture(params=PROCESSES)
def video(request):
    return VideoDenoiser(PROCESSES[request.param]())


def test_a_process_treats_every_frame_as_an_image(video):
    process, t = video.process, torch.tensor([10, 900])
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(2, *video.sample_shape, generator=generator) for _ in range(2))
    for function in (process.add_noise, process.target, process.to_epsilon, process.to_x0):
        together = function(x0, noise, t)
        frames = [function(x0[:, :, f], noise[:, :, f], t) for f in range(FRAMES)]
        assert torch.equal(together, torch.stack(frames, 2))


@pytest.mark.parametrize("masked", [False, True])
def test_engines_give_the_gradient_of_the_loss(video, tiny_images, masked):
    half = np.zeros((SIDE, SIDE))
    half[:, : SIDE // 2] = 255
    mask = Mask.from_gray(half, (SIDE, SIDE), "left") if masked else None
    batch = video.encode(tiny_images, [0, 1])
    noised = expand(video, batch, PLAN, "train", masks=[mask, None])
    assert noised[0].noise.shape == (4, *video.sample_shape)
    assert len(join(noised).t) == 8
    layers = select_layers(video.module, "*")
    x_t = video.process.add_noise(noised[0].x0, noised[0].noise, noised[0].t)
    target = video.process.target(noised[0].x0, noised[0].noise, noised[0].t)
    error = video.predict(x_t, noised[0].t, {}) - target
    loss = (error[..., : SIDE // 2] if masked else error).square().mean()
    named = dict(video.module.named_parameters())
    names = [name for layer in layers for name in layer.parameters]
    exact = torch.autograd.grad(loss, [named[name] for name in names])
    exact = torch.cat([gradient.flatten() for gradient in exact])
    for kind in (AutogradEngine, HookEngine):
        gradients = kind(video, layers, Objective("simple")).gradients(noised)
        mine = torch.cat([gradient[0, 0] for gradient in gradients])
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-6)


def test_samples_have_the_shape_of_the_model():
    video = VideoDenoiser(PROCESSES["ddpm"]())
    guided = GuidedDenoiser(video, [None, None])
    generator = torch.Generator().manual_seed(0)

    def draw_noise():
        return torch.randn(2, *video.sample_shape, generator=generator)

    with torch.no_grad():
        path = video.sampler.sample(guided, draw_noise, steps=3, eta=1.0)
    assert path.x0.shape == (2, *video.sample_shape)
    assert len(path.estimates) == 3


@pytest.mark.slow
def test_an_image_of_an_index_finds_itself(video, tiny_images, tmp_path):
    plan = {"timesteps": 2, "draws": 2, "query_draws": 2, "shared_noise": True, "dim": 128}
    index = cl.index(video, tiny_images, method="gradient-cosine", out=tmp_path / "index", **plan)
    (trace,) = index.trace(tiny_images.subset([1]), top=2)
    assert trace.proponents[0].name == tiny_images.names[1]
    assert abs(trace.proponents[0].score - 1) < 1e-3
