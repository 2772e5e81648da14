"""DDIM sampling repeats, does not depend on its batch and refuses what has no answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMScheduler

from creditline.diffusion.ddim import DDIMSampler
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.diffusion.sampling import SEEDS, sample
from creditline.errors import NumericsError, SettingsError

ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def with_scheduler(model, **config):
    process = DiscreteProcess.from_scheduler(DDPMScheduler(**config))
    return UNetDenoiser(model.module, process)


class Oracle(Denoiser):
    """A denoiser that knows the one clean image there is, whatever it is asked to predict."""

    sampler = DDIMSampler()

    def __init__(self, process, clean):
        self.process, self.clean = process, clean
        self.module = torch.nn.Linear(1, 1)
        self.sample_shape = tuple(clean.shape)

    def encode(self, images, indices):
        raise AssertionError("sampling encodes no image")

    def predict(self, x_t, t, condition):
        a, s = (scale.float().view(-1, 1, 1, 1) for scale in self.process.signal_noise(t))
        noise = (x_t - a * self.clean) / s
        return self.process.target(self.clean.expand_as(x_t), noise, t)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_an_image_depends_on_its_seed_and_not_on_its_batch(tiny_model, eta):
    seeds = [5, 6, 7, 2**32 - 1]
    together, (_, runs) = sample(tiny_model, seeds, steps=4, eta=eta)
    for i, seed in enumerate(seeds):
        alone, (_, run) = sample(tiny_model, [seed], steps=4, eta=eta)
        assert np.abs(alone[0].astype(int) - together[i]).max() <= 1
        assert np.abs(run[0] - runs[i]).max() < 1e-4
    distinct = {image.tobytes() for image in together}
    assert len(distinct) == len(seeds)


def test_eta_adds_noise(tiny_model):
    still, _ = sample(tiny_model, [0], steps=4)
    moved, _ = sample(tiny_model, [0], steps=4, eta=1.0)
    assert not np.array_equal(still, moved)


def test_it_is_the_sampler_of_diffusers(tiny_model):
    pipeline = DDIMPipeline(unet=tiny_model.module, scheduler=DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        generator=torch.Generator().manual_seed(3), num_inference_steps=5, output_type="np"
    ).images
    ours, _ = sample(tiny_model, [3], steps=5)
    assert np.abs(ours[0].astype(float) - theirs[0] * 255).max() <= 1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_a_perfect_model_gives_its_image_under_every_prediction(prediction, schedule):
    scheduler = DDPMScheduler(beta_schedule=schedule, prediction_type=prediction)
    clean = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8
    oracle = Oracle(DiscreteProcess.from_scheduler(scheduler), clean)
    generated_images, (timesteps, runs) = sample(oracle, [1, 2], steps=10)
    expected = ((clean.permute(1, 2, 0) + 1) * 127.5).numpy()
    assert np.abs(generated_images - expected).max() <= 1.0
    assert timesteps.tolist() == list(range(900, -1, -100))
    assert runs.shape == (2, 10, 3, 4, 4)
    assert np.abs(runs - clean.numpy()).max() < 0.01


def test_trajectories_stay_in_range(tiny_model):
    _, (timesteps, runs) = sample(tiny_model, [1], steps=3)
    assert timesteps.dtype == np.int64
    assert runs.dtype == np.float32
    assert np.abs(runs).max() <= 1


def test_sampling_from_zero_terminal_snr(tiny_model):
    works = with_scheduler(tiny_model, prediction_type="v_prediction", **ZERO_SNR)
    generated_images, (timesteps, runs) = sample(works, [0], steps=4)
    assert timesteps[0] == 999
    assert np.isfinite(runs).all()
    assert generated_images.std() > 0
    with pytest.raises(NumericsError, match="zero terminal SNR"):
        sample(with_scheduler(tiny_model, **ZERO_SNR), [0], steps=4)


def test_weights_that_are_not_finite_are_noticed(tiny_model):
    with torch.no_grad():
        next(tiny_model.module.parameters()).fill_(float("nan"))
    with pytest.raises(NumericsError, match="not finite"):
        sample(tiny_model, [0], steps=2)


def test_too_many_steps_and_too_large_seeds_are_refused(tiny_model):
    with pytest.raises(SettingsError, match="1000 timesteps"):
        sample(tiny_model, [0], steps=1001)
    with pytest.raises(SettingsError, match="Seeds run from 0"):
        sample(tiny_model, [SEEDS], steps=1)


def test_larger_seeds_would_repeat_images():
    def draw(seed):
        return torch.randn(4, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(draw(7), draw(7 + SEEDS))


def test_global_randomness_is_neither_used_nor_changed(tiny_model):
    torch.manual_seed(0)
    first, _ = sample(tiny_model, [4], steps=2, eta=0.5)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    second, _ = sample(tiny_model, [4], steps=2, eta=0.5)
    assert np.array_equal(first, second)
    assert torch.equal(torch.rand(1), expected)
