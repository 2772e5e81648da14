"""The hook engine against autograd, module by module, and what it must not miss."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.normalization import RMSNorm
from tests.device import DEVICE
from torch import nn

from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError
from creditline.gradients import layer_gradients
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.projection.two_sided import TwoSidedProjection

CHANNELS, SIDE = 4, 6


class Network(nn.Module):
    """A denoiser with one module of interest between two plain layers."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 1)
        self.inner = inner
        self.last = nn.Conv2d(CHANNELS, 3, 1)

    def forward(self, x, t):
        return self.last(self.inner(torch.tanh(self.first(x))))


class Tokens(nn.Module):
    """Something that works on `(n, places, channels)`."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x.flatten(2).mT).mT.reshape(x.shape)


class Conv(nn.Module):
    """A convolution of any output shape, summed into the image."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, 8, *args, **kwargs)

    def forward(self, x):
        y = torch.tanh(self.conv(x))
        return x * y.mean((2, 3))[:, :CHANNELS, None, None] + y.mean((1, 2, 3))[:, None, None, None]


class Twice(nn.Module):
    """One layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x):
        return self.shared(torch.tanh(self.shared(x)))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


class Scaled(nn.Module):
    """A parameter of no known module, beside a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(CHANNELS) + 0.5)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return x * self.scale[:, None, None]


class Looked(nn.Module):
    """An embedding that the image is multiplied with."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(9, CHANNELS)

    def forward(self, x):
        rows = (x.mean(-1).abs() * 40).long().clamp(max=8)[:, 0]  # (n, places)
        return x * self.table(rows).mT[..., None] + self.table(rows[:, 0])[:, :, None, None]


class Borrowed(nn.Module):
    """A weight used without its module being called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, x):
        return torch.nn.functional.linear(x, self.linear.weight, self.linear.bias)


MODULES = {
    "linear": lambda: Tokens(nn.Linear(CHANNELS, CHANNELS)),
    "linear without bias": lambda: Tokens(nn.Linear(CHANNELS, CHANNELS, bias=False)),
    "conv": lambda: Conv(3, padding=1),
    "stride": lambda: Conv(3, stride=2, padding=(1, 0)),
    "dilation": lambda: Conv((3, 2), dilation=(2, 1)),
    "groups": lambda: Conv(3, groups=2, padding=1),
    "depthwise": lambda: Conv(3, groups=CHANNELS, padding=1),
    "pointwise": lambda: Conv(1),
    "reflecting": lambda: Conv(3, padding=1, padding_mode="reflect"),
    "same": lambda: Conv(3, padding="same"),
    "group norm": lambda: nn.GroupNorm(2, CHANNELS),
    "layer norm": lambda: Tokens(nn.LayerNorm(CHANNELS)),
    "layer norm of images": lambda: nn.LayerNorm((SIDE, SIDE)),
    "rms norm": lambda: Tokens(nn.RMSNorm(CHANNELS)),
    "rms norm of images": lambda: nn.RMSNorm((SIDE, SIDE), eps=1e-3),
    "rms norm of diffusers": lambda: Tokens(RMSNorm(CHANNELS, 1e-3)),
    "rms norm of diffusers with bias": lambda: Tokens(RMSNorm(CHANNELS, 1e-3, bias=True)),
    "rms norm of diffusers of images": lambda: RMSNorm((SIDE, SIDE), 1e-3),
    "batch norm": lambda: nn.BatchNorm2d(CHANNELS).eval(),
    "embedding": Looked,
    "called twice": lambda: Tokens(Twice()),
    "tied": lambda: Tokens(Tied()),
    "no known module": Scaled,
}
BY_AUTOGRAD = {"reflecting", "same", "batch norm", "tied", "no known module"}
BY_AUTOGRAD |= {"rms norm of diffusers of images"}


class Denoiser:
    """As much of a denoiser as an engine needs."""

    def __init__(self, module: nn.Module) -> None:
        from diffusers import DDPMScheduler

        self.module = module
        self.process = DiscreteProcess.from_scheduler(DDPMScheduler())
        self.device, self.dtype = DEVICE, torch.float32

    def predict(self, x_t, t, condition):
        return self.module(x_t, t)


def denoiser(inner: nn.Module) -> Denoiser:
    torch.manual_seed(0)
    network = Network(inner)
    for parameter in network.parameters():  # norms start as ones and zeros
        parameter.data = torch.randn_like(parameter) * 0.5
    return Denoiser(network.to(DEVICE))


def batch(n: int = 3, side: int = SIDE):
    from creditline.diffusion.denoiser import Batch

    pixels = torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(pixels, {}, tuple("abc"[:n]))


def both(model, rank=None, normalize="none", pattern="*"):
    layers = select_layers(model.module, pattern)
    two_sided = None if rank is None else TwoSidedProjection(layers, rank, seed=0)
    settings = (model, layers, Objective("simple"), normalize, two_sided)
    return AutogradEngine(*settings), HookEngine(*settings)


def assert_same(mine, exact):
    for a, b in zip(mine, exact, strict=True):
        assert a.shape == b.shape
        assert torch.linalg.norm(a - b) <= 1e-5 * torch.linalg.norm(b) + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["mean", "halves", "timesteps"])
@pytest.mark.parametrize("rank", [None, 3, 16])  # mixes, or two rounds of the channels
@pytest.mark.parametrize("name", MODULES)
def test_every_module_agrees_with_autograd(name, rank, reduction):
    model = denoiser(MODULES[name]())
    exact, mine = both(model, rank)
    noised_images = expand(model, batch(), NoisePlan(timesteps=3, draws=1), "train")
    assert bool(mine.rest) == (name in BY_AUTOGRAD)
    assert_same(mine.gradients(noised_images, reduction), exact.gradients(noised_images, reduction))


@pytest.mark.parametrize("name", ["conv", "no known module"])
@pytest.mark.parametrize("microbatch", [1, 4, 7])
def test_the_size_of_a_pass_changes_nothing(name, microbatch):
    model = denoiser(MODULES[name]())
    exact, mine = both(model, rank=3)
    mine.microbatch = microbatch
    noised_images = expand(model, batch(), NoisePlan(timesteps=5, draws=2), "train")
    assert_same(mine.gradients(noised_images), exact.gradients(noised_images))
    assert_same(mine.gradients(noised_images, "halves"), exact.gradients(noised_images, "halves"))


@pytest.mark.parametrize("rank", [None, 3, 16])
@pytest.mark.parametrize("many", [1, 1 << 30])
@pytest.mark.parametrize("side", [5, 24])
@pytest.mark.parametrize("name", ["conv", "stride", "dilation", "groups", "depthwise", "pointwise"])
def test_all_contractions_of_a_convolution_agree(name, side, many, rank, monkeypatch):
    monkeypatch.setattr(layer_gradients, "MANY", many)
    model = denoiser(MODULES[name]())
    exact, mine = both(model, rank)
    noised_images = expand(model, batch(2, side), NoisePlan(timesteps=3), "train")
    assert_same(mine.gradients(noised_images, "halves"), exact.gradients(noised_images, "halves"))


@pytest.mark.parametrize("pattern", ["*weight", "*bias", "inner*", "*,!*weight"])
def test_a_subset_of_parameters(pattern):
    model = denoiser(nn.Sequential(Conv(3, padding=1), nn.GroupNorm(2, CHANNELS), Looked()))
    exact, mine = both(model, rank=3, pattern=pattern)
    noised_images = expand(model, batch(), NoisePlan(timesteps=3), "train")
    assert_same(mine.gradients(noised_images), exact.gradients(noised_images))


def test_normalized_timesteps_have_unit_length_after_the_projection():
    model = denoiser(Conv(3, padding=1))
    exact, mine = both(model, rank=3, normalize="timestep")
    noised_images = expand(model, batch(), NoisePlan(timesteps=3), "train")
    units = mine.gradients(noised_images, "timesteps")
    norms = sum(layer.double().square().sum(-1) for layer in units).sqrt()
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=1e-5, atol=0)
    assert_same(mine.gradients(noised_images), exact.gradients(noised_images))


def test_hooks_are_removed():
    model = denoiser(MODULES["called twice"]())
    model.module.first.weight.requires_grad_(False)
    model.module.last.weight.grad = torch.ones_like(model.module.last.weight)
    before = {n: p.requires_grad for n, p in model.module.named_parameters()}
    _, mine = both(model, rank=3)
    mine.gradients(expand(model, batch(), NoisePlan(timesteps=3), "train"))
    assert {n: p.requires_grad for n, p in model.module.named_parameters()} == before
    assert torch.equal(model.module.last.weight.grad, torch.ones_like(model.module.last.weight))
    assert not any(module._forward_hooks for module in model.module.modules())


def test_verify_finds_a_weight_that_another_module_uses():
    _, mine = both(denoiser(Tokens(Borrowed())))
    with pytest.raises(ModelError, match=r"inner\.inner\.linear.*engine='autograd'"):
        mine.verify(batch())


@pytest.mark.parametrize("name", MODULES)
def test_verify_accepts_correct_gradients(name):
    for rank in (None, 3):
        both(denoiser(MODULES[name]()), rank)[1].verify(batch())


def test_verify_accepts_gradients_that_are_zero():
    model = denoiser(MODULES["conv"]())
    for parameter in model.module.last.parameters():
        parameter.data.zero_()  # as a network that starts at zero, with the square norm
    layers = select_layers(model.module)
    HookEngine(model, layers, Objective("square-norm")).verify(batch())


def test_a_batch_that_cannot_be_split_by_image_is_refused():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(CHANNELS, CHANNELS)

        def forward(self, x):
            return x + self.linear(x.mean((0, 2, 3)))[None, :, None, None].tanh()

    _, mine = both(denoiser(Pooled()))
    with pytest.raises(ModelError, match=r"inner\.linear.*batch of 4 for 6"):
        mine.gradients(expand(denoiser(Pooled()), batch(2), NoisePlan(timesteps=3), "train"))
