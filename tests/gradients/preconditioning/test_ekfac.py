"""EK-FAC and K-FAC: exact where theory says so, and equal to what autograd computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from creditline.diffusion.denoiser import Batch, Denoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.ekfac import EKFAC
from creditline.gradients.preconditioning.kfac import KFAC

RHO = 0.05


class SmallDenoiser(Denoiser):
    """A module on noised samples of shape `(2, 3, 3)`: red and green, without conditions."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.process = DiscreteProcess(np.linspace(1e-3, 0.2, 10))
        self.sample_shape, self.image_shape = (2, 3, 3), (3, 3, 3)

    def encode(self, images, indices) -> Batch:
        ids = tuple(images.ids[i] for i in indices)
        return Batch(images.pixels(indices)[:, :2], {}, ids)

    def predict(self, x_t: Tensor, t: Tensor, condition: dict[str, Tensor]) -> Tensor:
        return self.module(x_t)


def evaluations(count: int, seed: int = 0, every_output: bool = False) -> list[NoisedBatch]:
    """Random evaluations; with `every_output` each with every basis vector as output gradient."""
    generator = torch.Generator().manual_seed(seed)
    x0, noise = (torch.randn(count, 2, 3, 3, generator=generator) for _ in range(2))
    t = torch.randint(0, 10, (count,), generator=generator)
    if every_output:
        size = 18
        basis = math.sqrt(2) * torch.eye(size).view(size, 2, 3, 3)
        x0, noise, t = (x.repeat_interleave(size, 0) for x in (x0, noise, t))
        return [NoisedBatch("a", x0, t, noise, {}, 1, output_gradient=basis.repeat(count, 1, 1, 1))]
    gradient = torch.randn(count, 2, 3, 3, generator=generator) * math.sqrt(2 / 18)
    return [NoisedBatch("a", x0, t, noise, {}, 1, output_gradient=gradient)]


def fit(module: nn.Module, draws: list[NoisedBatch], kind: type[EKFAC] = EKFAC, **settings):
    layers = select_layers(module)
    engine = HookEngine(SmallDenoiser(module), layers, Objective(), microbatch=7)
    preconditioner = kind(Preconditioning("ekfac", preconditioner_damping=RHO, **settings), layers)
    for number in range(preconditioner.passes):
        sums = preconditioner.add_up(number, engine, draws)
        preconditioner.learn(number, sums, sum(len(noised.t) for noised in draws))
    return preconditioner, engine


def jacobian_products(module: nn.Module, draws: list[NoisedBatch]) -> Tensor:
    """Gradients of single evaluations by autograd, `(u, d)`, parameters in order."""
    denoiser, rows = SmallDenoiser(module), []
    for noised in draws:
        x_t = denoiser.process.add_noise(noised.x0, noised.noise, noised.t)
        for x, g in zip(x_t, noised.output_gradient, strict=True):
            value = (module(x[None])[0] * g).sum()
            parts = torch.autograd.grad(value, list(module.parameters()))
            rows.append(torch.cat([p.flatten() for p in parts]))
    return torch.stack(rows)


class Flat(nn.Module):
    """One linear map of all of a sample to all of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(18, 18)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1)).view_as(x)


def test_on_one_linear_layer_it_is_the_exact_gauss_newton_matrix():
    torch.manual_seed(0)
    module, draws = Flat(), evaluations(30, every_output=True)
    preconditioner, _ = fit(module, draws)
    rows = jacobian_products(module, draws).double()
    exact = rows.mT @ rows / len(rows)
    damped = exact + RHO * exact.diagonal().mean() * torch.eye(len(exact))
    gradients = torch.randn(5, len(exact), generator=torch.Generator().manual_seed(1))
    expected = gradients.double() @ torch.linalg.solve(damped, gradients.double().mT)
    (own,) = preconditioner.apply([gradients])
    torch.testing.assert_close((own @ own.mT).double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", [EKFAC, KFAC])
def test_they_agree_where_inputs_and_output_gradients_are_independent(kind):
    torch.manual_seed(0)
    module, draws = Flat(), evaluations(30, every_output=True)
    (own,) = fit(module, draws, kind)[0].eigenvalues_
    (other,) = fit(module, draws)[0].eigenvalues_
    torch.testing.assert_close(own, other, rtol=1e-3, atol=1e-5 * float(other.max()))


CONVOLUTIONS = {
    "plain": nn.Conv2d(2, 2, 3, padding=1),
    "without bias": nn.Conv2d(2, 2, 1, bias=False),
    "dilated": nn.Conv2d(2, 2, 3, padding=2, dilation=2),
    "grouped": nn.Conv2d(2, 2, 3, padding=1, groups=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("sharing", ["expand", "reduce"])
def test_eigenvalues_are_mean_squares_of_rotated_gradients(name, sharing):
    module, draws = CONVOLUTIONS[name], evaluations(12)
    preconditioner, _ = fit(module, draws, preconditioner_sharing=sharing)
    rows = jacobian_products(module, draws)
    expected = preconditioner.rotate(0, rows).square().mean(0)
    (own,) = preconditioner.eigenvalues_
    torch.testing.assert_close(own, expected, rtol=1e-3, atol=1e-6 * float(expected.max()))
    # A rotation: whatever the basis, the trace stays.
    assert float(own.sum()) == pytest.approx(float(rows.square().sum(1).mean()), rel=1e-3)


def test_covariances_of_a_convolution_are_those_of_its_patches():
    module, draws = CONVOLUTIONS["plain"], evaluations(9)
    layers = select_layers(module)
    engine = HookEngine(SmallDenoiser(module), layers, Objective(), microbatch=4)
    sums = EKFAC(Preconditioning("ekfac"), layers).add_up(0, engine, draws)
    (noised,) = draws
    x_t = SmallDenoiser(module).process.add_noise(noised.x0, noised.noise, noised.t)
    patches = nn.functional.unfold(x_t, 3, padding=1).mT.flatten(0, 1)
    patches = torch.cat([patches, torch.ones(len(patches), 1)], dim=1)
    outputs = noised.output_gradient.flatten(2).mT.flatten(0, 1)
    torch.testing.assert_close(sums["/input"], patches.mT @ patches, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sums["/output"], outputs.mT @ outputs, rtol=1e-4, atol=1e-4)
    assert sums["/count"] == len(patches)


class Twice(nn.Module):
    """A convolution that is used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.tanh(self.conv(x)))


def test_a_layer_that_is_used_twice_has_the_sum_of_both_gradients():
    torch.manual_seed(1)
    module, draws = Twice(), evaluations(12)
    preconditioner, _ = fit(module, draws)
    rows = jacobian_products(module, draws)
    expected = preconditioner.rotate(0, rows).square().mean(0)
    torch.testing.assert_close(
        preconditioner.eigenvalues_[0], expected, rtol=1e-3, atol=1e-6 * float(expected.max())
    )


def test_norms_have_the_diagonal_of_the_curvature():
    module, draws = nn.Sequential(nn.GroupNorm(1, 2), nn.Conv2d(2, 2, 1)), evaluations(10)
    nn.init.normal_(module[0].weight)
    preconditioner, _ = fit(module, draws)
    assert preconditioner.bases_[0] is None
    assert preconditioner.bases_[1] is not None
    rows = jacobian_products(module, draws)[:, :4]
    torch.testing.assert_close(
        preconditioner.eigenvalues_[0], rows.square().mean(0), rtol=1e-4, atol=1e-7
    )


def test_damping_is_relative_to_the_layer_or_to_the_model():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 2, 3, padding=1))
    draws = evaluations(10)
    by_layer, _ = fit(module, draws)
    by_model, _ = fit(module, draws, preconditioner_damping_unit="model")
    mean = torch.cat(by_layer.eigenvalues_).mean()
    for one, other in zip(by_layer.eigenvalues_, by_model.eigenvalues_, strict=True):
        assert torch.equal(one, other)
    for values, scale, other in zip(
        by_layer.eigenvalues_, by_layer.scales_, by_model.scales_, strict=True
    ):
        torch.testing.assert_close(scale, (values + RHO * values.mean()).rsqrt())
        torch.testing.assert_close(other, (values + RHO * mean).rsqrt())
