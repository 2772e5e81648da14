"""The Gauss-Newton product and conjugate gradients, against dense algebra."""

from __future__ import annotations

import pytest
import torch
from tests.gradients.preconditioning.test_ekfac import (
    Flat,
    SmallDenoiser,
    evaluations,
    jacobian_products,
)
from torch import nn

from creditline.gradients.conjugate_gradients import solve
from creditline.gradients.gauss_newton import GaussNewton
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.SiLU(), nn.Conv2d(3, 2, 1)
    )


def engine_of(module: nn.Module, microbatch: int = 4) -> HookEngine:
    layers = select_layers(module)
    return HookEngine(SmallDenoiser(module), layers, Objective(), microbatch=microbatch)


def vector_like(engine: HookEngine) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(layer.size, generator=generator) for layer in engine.layers]


@pytest.mark.parametrize("make", [network, Flat])
def test_the_product_is_that_of_the_dense_matrix(make):
    module = make()
    engine, draws = engine_of(module), evaluations(9)
    # Every output of every evaluation, each with the gradient sqrt(2).
    rows = jacobian_products(module, evaluations(9, every_output=True)).double()
    exact = rows.mT @ rows / len(rows)
    vector = vector_like(engine)
    product = torch.cat(GaussNewton(engine, draws).product(vector))
    expected = exact @ torch.cat(vector).double()
    torch.testing.assert_close(product.double(), expected, rtol=1e-3, atol=1e-4)


def test_passes_change_nothing():
    module, draws = network(), evaluations(9)
    engine = engine_of(module)
    vector = vector_like(engine)
    products = [
        torch.cat(GaussNewton(engine_of(module, size), draws).product(vector)) for size in (2, 9)
    ]
    torch.testing.assert_close(*products, rtol=1e-4, atol=1e-6)


@pytest.fixture
def system():
    """A positive definite matrix, and a right side in two parts."""
    generator = torch.Generator().manual_seed(2)
    root = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix = root @ root.mT + 0.1 * torch.eye(12)
    right = torch.randn(12, generator=generator, dtype=torch.float64)
    return matrix, [right[:5], right[5:]]


def test_conjugate_gradients_solve_the_system(system):
    matrix, right = system
    solution = solve(
        lambda v: list((matrix @ torch.cat(list(v))).split([5, 7])), list, right, 100, 1e-10
    )
    expected = torch.linalg.solve(matrix, torch.cat(right))
    torch.testing.assert_close(torch.cat(solution.vector), expected, rtol=1e-6, atol=1e-8)
    assert solution.residual <= 1e-10


def test_with_the_exact_inverse_there_is_nothing_to_do(system):
    matrix, right = system
    inverse = torch.linalg.inv(matrix)
    product, exact = (
        lambda v, m=m: list((m @ torch.cat(list(v))).split([5, 7])) for m in (matrix, inverse)
    )
    solution = solve(product, exact, right, 100, 1e-8)
    assert solution.iterations == 0
    zeros = [torch.zeros_like(part) for part in right]
    assert solve(product, exact, zeros, 9, 0.1).residual == 0
