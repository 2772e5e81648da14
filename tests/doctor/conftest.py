"""Networks with one fault each, wrapped as denoisers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from creditline.data.image_set import ImageSet
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.process import DiscreteProcess


class SmallNet(nn.Module):
    """Two convolutions on 8x8 pixels with a faulty module between them."""

    def __init__(self, middle: nn.Module, twice: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.middle = middle
        self.last = nn.Conv2d(8, 3, 3, padding=1)
        self.twice = twice

    def forward(self, x, t):
        hidden = self.first(x) + (t.to(x.dtype) / 1000).view(-1, 1, 1, 1)
        hidden = self.middle(hidden)
        if self.twice:
            hidden = self.middle(torch.tanh(hidden))
        return self.last(torch.tanh(hidden))


class SmallDenoiser(UNetDenoiser):
    """A denoiser of any module, left in the mode it is in."""

    fingerprint = "small"

    def __init__(self, module: nn.Module) -> None:
        from diffusers import DDPMScheduler

        self.module = module
        self.process = DiscreteProcess.from_scheduler(DDPMScheduler())
        self.source, self.n_classes, self.sample_shape = None, None, (3, 8, 8)
        self.image_shape = self.sample_shape

    def predict(self, x_t, t, condition):
        return self.module(x_t, t)


@pytest.fixture(autouse=True)
def measurement(monkeypatch):
    """Measure costs once and on small matrices; tests of the cost itself override this."""
    monkeypatch.setattr("creditline.doctor.cost.REPEATS", (1, 1))
    monkeypatch.setattr("creditline.doctor.cost.PROBE", 64)


@pytest.fixture
def make():
    """`make(middle_module, ...)`: a denoiser in evaluation mode."""

    def build(middle: nn.Module | None = None, **options) -> SmallDenoiser:
        torch.manual_seed(0)
        return SmallDenoiser(SmallNet(middle or nn.GroupNorm(4, 8), **options).eval())

    return build


@pytest.fixture
def examine():
    """`diagnose` with a small index; images are random unless given."""
    from creditline.doctor import diagnose

    def run(model, images=None, **settings):
        return diagnose(model, images, **{"timesteps": 4, "dim": 128, "samples": 3, **settings})

    return run


@pytest.fixture
def random_image():
    """`random_image(model)`: one random image of its size, with a prompt and a class."""

    def draw(model) -> ImageSet:
        _, height, width = model.image_shape
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
        return ImageSet.from_images(pixels, texts=["a cat"], labels=[0])

    return draw
