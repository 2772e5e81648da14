"""SOURCE's filters: the effect of a push on gradient descent, followed to the end of training."""

from __future__ import annotations

import math

import pytest
import torch
from tests.gradients.preconditioning.test_ekfac import Flat, evaluations, fit, jacobian_products
from torch import Tensor, nn

from creditline.gradients.preconditioning.unrolling import (
    Segment,
    UnrolledQuery,
    adam_horizons,
    decay,
    response,
)

RATE, STEPS = 1e-3, 200


@pytest.fixture(scope="module")
def curvatures():
    """Two fits on a linear layer, and the exact Gauss-Newton matrix of each."""
    both = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        module, draws = Flat(), evaluations(20, seed, every_output=True)
        rows = jacobian_products(module, draws).double()
        both.append((fit(module, draws)[0], rows.mT @ rows / len(rows)))
    return both


def unrolled(matrices: list[Tensor], pushes: list[Tensor]) -> Tensor:
    """How far gradient descent on quadratics ends up from where it ends without the pushes."""
    moved = torch.zeros_like(pushes[0])
    for matrix, push in zip(matrices, pushes, strict=True):
        for _ in range(STEPS):
            moved = moved - RATE * (moved @ matrix) + RATE * push
    return moved


def test_scores_are_those_of_unrolled_gradient_descent(curvatures):
    generator = torch.Generator().manual_seed(2)
    matrices = [10 * exact for _, exact in curvatures]
    size = len(matrices[0])
    query, first, second = (torch.randn(4, size, generator=generator) for _ in range(3))
    expected = query.double() @ unrolled(matrices, [first.double(), second.double()]).mT
    # Rates times a curvature ten times as large are rates ten times as large.
    segments = [Segment(curvature, [10 * RATE * STEPS]) for curvature, _ in curvatures]
    pairs = [(first, segments[1:]), (second, [])]
    scores = sum(
        (UnrolledQuery(segment, later).apply([query])[0] @ segment.apply([push])[0].mT) / 10
        for segment, (push, later) in zip(segments, pairs, strict=True)
    )
    error = (scores.double() - expected).norm() / expected.norm()
    assert error < 0.02


def test_a_segment_is_the_sum_of_its_parts(curvatures):
    curvature, _ = curvatures[0]
    query, push = torch.randn(2, 3, curvature.layers[0].size, generator=torch.manual_seed(0))
    segment = Segment(curvature, [30.0])
    parts = [Segment(curvature, [10.0]), Segment(curvature, [20.0])]
    expected = segment.apply([query])[0] @ segment.apply([push])[0].mT
    scores = sum(
        UnrolledQuery(part, parts[i + 1 :]).apply([query])[0] @ part.apply([push])[0].mT
        for i, part in enumerate(parts)
    )
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


def test_filters_at_their_limits():
    values = torch.tensor([0.0, 1e-12, 2.0, 1e6])
    torch.testing.assert_close(response(values, 3.0)[:2], torch.full((2,), 3.0).double())
    torch.testing.assert_close(response(values, 3.0)[3], torch.tensor(1e-6).double())
    assert decay(values, 3.0)[0] == 1
    assert decay(values, 3.0)[3] == 0
    assert not response(values, 0.0).any()


def test_a_layer_turned_back_is_what_it_was():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.GroupNorm(1, 3), nn.Conv2d(3, 2, 1))
    curvature, _ = fit(module, evaluations(10))
    for i, layer in enumerate(curvature.layers):
        gradients = torch.randn(2, layer.size)
        back = curvature.rotate_back(i, curvature.rotate(i, gradients))
        torch.testing.assert_close(back, gradients, rtol=1e-4, atol=1e-5)


def test_horizons_of_adam_do_not_depend_on_the_loss_s_scale(curvatures):
    """Adam takes the same steps for a loss of any scale; a horizon times curvature is a number."""
    curvature, _ = curvatures[0]
    (horizon,) = adam_horizons(curvature, 2.0, 16, loss=0.3, outputs=18)
    mean = float(curvature.eigenvalues_[0].double().mean())
    rms = math.sqrt(mean * 2 * 0.3 / 18 / 16)
    assert horizon == pytest.approx(2.0 / rms)
    (twice,) = adam_horizons(curvature, 4.0, 16, loss=0.3, outputs=18)
    assert twice == pytest.approx(2 * horizon)
