"""Sums are means of what came, whatever came in which pass, and zero where nothing came."""

from __future__ import annotations

import torch

from creditline.gradients.parameters import Layer
from creditline.gradients.projection.accumulator import GradientAccumulator

LAYERS = (Layer("a", ("a.weight", "a.bias"), ((2, 3), (2,))), Layer("b", ("b.bias",), ((4,),)))
FACTORS = torch.tensor([1.0, 0.5, 0.25, 2.0, 1.0])


def test_first_values_are_written_and_later_ones_added():
    sums = GradientAccumulator(LAYERS, None, FACTORS)
    values = torch.randn(5, 6)
    sums.add("a.weight", 0, values[:3])
    sums.add("a.weight", 0, values[:3])  # a module that is called twice
    sums.add("a.weight", 2, values[2:])  # a gradient of which a part was in the pass before
    weight = FACTORS[:, None] * values * torch.tensor([2, 2, 3, 1, 1])[:, None]
    torch.testing.assert_close(sums.layers()[0][:, :6], weight)


def test_places_without_values_are_zero():
    sums = GradientAccumulator(LAYERS, None, FACTORS)
    sums.layers()[1].fill_(torch.nan)
    sums.add("b.bias", 1, torch.ones(1, 4))
    sums.add("b.bias", 3, torch.ones(1, 4))
    a, b = sums.layers()
    assert torch.equal(a, torch.zeros(5, 8))
    assert torch.equal(b[:, 0], FACTORS * torch.tensor([0, 1, 0, 1, 0]))
