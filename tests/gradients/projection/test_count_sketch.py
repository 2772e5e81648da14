"""Sketches parameter by parameter equal those of complete gradients, in any order and copy."""

from __future__ import annotations

import pickle

import pytest
import torch

from creditline.gradients.parameters import Layer
from creditline.gradients.projection import Projection
from creditline.gradients.projection.two_sided import TwoSidedProjection

LAYERS = (
    Layer("a", ("a.weight", "a.bias"), ((20, 35), (20,))),
    Layer("b", ("b.bias",), ((5,),)),
    Layer("c", ("c.weight",), ((10, 3, 3, 3),)),
)
FACTORS = torch.tensor([1.0, 0.5, -2.0])


def make(layout: str, kind: str = "count-sketch"):
    settings = {"rank": 8} if kind == "two-sided" else {}
    return Projection(kind, 64, 0, layout, **settings).build(LAYERS)  # type: ignore[arg-type]


def parts(two_sided: TwoSidedProjection | None) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = {
        name: torch.Size(shape).numel() if two_sided is None else two_sided.weights[name].size
        for layer in LAYERS
        for name, shape in zip(layer.parameters, layer.shapes, strict=True)
    }
    return {name: torch.randn(3, size, generator=generator) for name, size in sizes.items()}


def by_layer(gradients: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [torch.cat([gradients[name] for name in layer.parameters], dim=1) for layer in LAYERS]


@pytest.mark.parametrize("kind", ["count-sketch", "two-sided"])
@pytest.mark.parametrize("layout", ["joint", "layers"])
def test_parameters_added_one_by_one(layout, kind):
    projector = make(layout, kind)
    gradients = parts(projector.two_sided)
    expected = projector.project(by_layer(gradients)) * FACTORS[:, None]
    sink = projector.sink(LAYERS, FACTORS)
    for name in reversed(list(gradients)):  # as a backward pass has them
        values = gradients[name]
        sink.add(name, 0, values[:1])
        sink.add(name, 1, 0.25 * values[1:])
        sink.add(name, 1, 0.75 * values[1:])  # and images in several passes
    torch.testing.assert_close(sink.features(), expected, rtol=1e-5, atol=1e-5)


def test_every_input_has_one_row():
    """Every input in one row, with a sign, and as many in each row as can be."""
    projector = make("joint")
    size = sum(layer.size for layer in LAYERS)
    pieces = torch.eye(size).split([layer.size for layer in LAYERS], dim=1)
    matrix = projector.project(list(pieces))
    assert (matrix.abs().sum(1) == 1).all()
    filled = matrix.abs().sum(0)
    assert filled.max() - filled.min() <= 1


@pytest.mark.parametrize("used", [False, True])
def test_a_copy_for_another_process_is_the_same(used):
    projector = make("joint")
    gradients = by_layer(parts(None))
    expected = projector.project(gradients)
    copy = pickle.loads(pickle.dumps(projector if used else make("joint")))  # noqa: S301
    assert torch.equal(copy.project(gradients), expected)
    assert torch.equal(copy.project(gradients), expected)


def test_dense_projections_do_not_stream():
    kinds = ("two-sided", "count-sketch", "gaussian", "rademacher")
    results = [make("joint", kind).streams for kind in kinds]
    assert results == [True, True, False, False]
