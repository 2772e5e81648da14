"""Two-sided projections: unbiased, exact where they may be, the same whenever they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.gradients.parameters import Layer
from creditline.gradients.projection.two_sided import TwoSidedProjection

LAYERS = (
    Layer("a", ("a.weight", "a.bias"), ((12, 5, 3, 3), (12,))),  # rank 8: a column a channel
    Layer("b", ("b.weight",), ((6, 40),)),
    Layer("c", ("c.weight",), ((40, 7, 3, 3),)),  # rank 4: two mixes, rows cut
)


def gradients(seed: int = 0, n: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, layer.size, generator=generator) for layer in LAYERS]


def test_full_rank_changes_nothing():
    two_sided = TwoSidedProjection(LAYERS, 64, seed=0)
    assert two_sided.sizes == [layer.size for layer in LAYERS]
    for projected, explicit in zip(two_sided.project(gradients()), gradients(), strict=True):
        assert torch.equal(projected, explicit)


def test_sizes_are_those_of_projected_gradients():
    two_sided = TwoSidedProjection(LAYERS, 8, seed=0)
    assert two_sided.sizes == [12 * 5 + 12, 6 * 8, 8 * 7]
    assert TwoSidedProjection(LAYERS, 4, seed=0).sizes == [12 * 2 + 12, 6 * 4, 4 * 2]
    shapes = [tuple(layer.shape) for layer in two_sided.project(gradients())]
    assert shapes == [(2, 72), (2, 48), (2, 56)]


@pytest.mark.slow
def test_inner_products_are_unbiased():
    u, v = gradients(0), gradients(1)
    v = [0.7 * a + 0.7 * b for a, b in zip(u, v, strict=True)]
    true = sum(float((a[0] * b[0]).sum()) for a, b in zip(u, v, strict=True))
    results = []
    for seed in range(400):
        two_sided = TwoSidedProjection(LAYERS, 4, seed)
        pairs = zip(two_sided.project(u), two_sided.project(v), strict=True)
        results.append(sum(float((a[0] * b[0]).sum()) for a, b in pairs))
    assert abs(np.mean(results) - true) < 4 * np.std(results) / np.sqrt(len(results))


@pytest.mark.parametrize(("name", "side", "size"), [("c", "left", 40), ("b", "right", 40)])
def test_directions_are_orthogonal_and_scaled(name, side, size):
    rank = 9
    two_sided = TwoSidedProjection(LAYERS, rank, seed=3)
    directions = getattr(two_sided, side)(f"{name}.weight", torch.device("cpu"))
    assert directions.shape == (size, rank)
    expected = torch.eye(rank) * len(directions) / rank
    torch.testing.assert_close(directions.T @ directions, expected, rtol=1e-5, atol=1e-5)


def test_directions_belong_to_seed_parameter_and_side():
    device = torch.device("cpu")
    a, again, other = (
        TwoSidedProjection(LAYERS, 4, 0),
        TwoSidedProjection(LAYERS[2:], 4, 0),
        TwoSidedProjection(LAYERS, 4, 1),
    )
    assert torch.equal(a.left("c.weight", device), again.left("c.weight", device))
    assert not torch.equal(a.left("c.weight", device), other.left("c.weight", device))
    mine, same, changed = (x.patch_sketch("c.weight", device) for x in (a, again, other))
    assert mine.order == same.order
    assert torch.equal(mine.mixing, same.mixing)
    assert not torch.equal(mine.mixing, changed.mixing)
