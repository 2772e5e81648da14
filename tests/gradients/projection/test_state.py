"""Principal directions: the best of their rank, the same however gradients arrive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.gradients.parameters import Layer
from creditline.gradients.projection import Projection
from creditline.gradients.projection.principal import PrincipalProjection
from creditline.gradients.projection.state import ProjectionState, rows_to_fit
from creditline.gradients.projection.two_sided import TwoSidedProjection

LAYERS = (
    Layer("a", ("a.weight", "a.bias"), ((12, 6, 3, 3), (12,))),
    Layer("b", ("b.weight",), ((9, 40),)),
)
RANK = 8


def low_rank(n: int = 30) -> list[list[torch.Tensor]]:
    """Gradients that differ along few directions of either side, about a large mean."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    conv_left, conv_right = normal(12, 5), normal(6, 1)
    left, right, mean = normal(9, 3), normal(40, 4), 5 * normal(9, 40)
    results = []
    for _ in range(n):
        conv = torch.einsum("rx,xyp,cy->rcp", conv_left, normal(5, 1, 9), conv_right)
        linear = left @ normal(3, 4) @ right.T + mean
        results.append([torch.cat([conv.flatten(), normal(12)]), linear.flatten()])
    return results


def captured(two_sided: TwoSidedProjection, gradients: list[list[torch.Tensor]]) -> float:
    stacked = [torch.stack(layer) for layer in zip(*gradients, strict=True)]
    centered = [layer - layer.mean(0) for layer in stacked]
    captured_squares = sum(float(x.square().sum()) for x in two_sided.project(centered))
    return captured_squares / sum(float(x.square().sum()) for x in centered)


def test_gradients_of_low_rank_lose_nothing():
    gradients = low_rank()
    two_sided = PrincipalProjection(
        LAYERS,
        RANK,
        ProjectionState.fit(Projection("principal", rank=RANK), LAYERS, gradients).directions,
    )
    assert captured(two_sided, gradients) == pytest.approx(1, abs=1e-5)
    means = [torch.stack(layer).mean(0) for layer in zip(*gradients, strict=True)]
    u, v = ([x - m for x, m in zip(g, means, strict=True)] for g in gradients[:2])
    full = sum(float(a @ b) for a, b in zip(u, v, strict=True))
    pairs = zip(two_sided.project(u), two_sided.project(v), strict=True)
    assert sum(float(a @ b) for a, b in pairs) == pytest.approx(full, rel=1e-4)


def test_no_other_directions_of_a_side_capture_more():
    generator = torch.Generator().manual_seed(3)
    layers = (Layer("b", ("b.weight",), ((30, 8),)),)  # its right side is full
    gradients = [[torch.randn(240, generator=generator)] for _ in range(25)]
    mine = PrincipalProjection(
        layers,
        RANK,
        ProjectionState.fit(Projection("principal", rank=RANK), layers, gradients).directions,
    )
    best = captured(mine, gradients)
    stacked = torch.stack([g[0] for g in gradients]).double()
    matrices = (stacked - stacked.mean(0)).unflatten(1, (30, 8))
    singular = torch.linalg.svdvals(matrices.transpose(0, 1).flatten(1)).square()
    assert best == pytest.approx(float(singular[:RANK].sum() / singular.sum()), rel=1e-4)


def test_directions_are_orthonormal_and_only_of_reduced_sides():
    state = ProjectionState.fit(Projection("principal", rank=RANK), LAYERS, low_rank())
    assert set(state.directions) == {
        "a.weight/left", "a.weight/right", "b.weight/left", "b.weight/right"
    }  # fmt: skip
    sizes = {key: basis.shape for key, basis in state.directions.items()}
    assert sizes["a.weight/left"] == (12, 8)
    assert sizes["a.weight/right"] == (6, 1)
    for basis in state.directions.values():
        assert basis.dtype == np.float32
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    assert not ProjectionState.fit(
        Projection("principal", rank=1000), LAYERS, low_rank()
    ).directions


def test_variances_are_those_of_the_gradients():
    gradients = low_rank()
    stacked = [torch.stack(layer).double() for layer in zip(*gradients, strict=True)]
    expected = [float(x.var(0, correction=0).sum()) for x in stacked]
    np.testing.assert_allclose(
        ProjectionState.fit(Projection("principal", rank=RANK), LAYERS, gradients).variances,
        expected,
        rtol=1e-5,
    )


def test_the_mean_gradient_takes_no_direction():
    gradients = low_rank()
    shifted = [[g[0], g[1] + 100.0] for g in gradients]
    a, b = (
        ProjectionState.fit(Projection("principal", rank=2), LAYERS, g).directions["b.weight/left"]
        for g in (gradients, shifted)
    )
    np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-2)


def test_pairs_of_opposite_rows_do_not_leave_the_sign_to_rounding():
    generator = torch.Generator().manual_seed(1)
    layers = (Layer("b", ("b.weight",), ((8, 30),)),)
    half = torch.randn(25, 4, 1, 30, generator=generator)
    exact = torch.cat([half, -half], dim=2).flatten(1)
    results = []
    for seed in range(8):
        generator.manual_seed(seed)
        noise = 1e-6 * torch.randn(exact.shape, generator=generator)
        results.append(
            ProjectionState.fit(
                Projection("principal", rank=2), layers, [[g] for g in exact + noise]
            ).directions["b.weight/left"]
        )
    for other in results:
        np.testing.assert_allclose(other, results[0], atol=1e-3)


@pytest.mark.parametrize(("n", "count"), [(10, 3), (5, 64), (64, 64), (1000, 64)])
def test_fitted_images_are_distinct_and_spread_over_the_set(n, count):
    rows = rows_to_fit(n, count)
    assert len(rows) == min(n, count)
    assert rows[0] == 0
    assert rows[-1] == n - 1
