"""What every registered preconditioner keeps."""

from __future__ import annotations

import pytest
import torch

from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.settings import PRECONDITIONERS
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=2)


@pytest.fixture(params=PRECONDITIONERS.names())
def fit(request, tiny_model, tiny_images):
    """`fit(images)`: a new preconditioner of this name, fitted to this many training images."""
    settings = Preconditioning(request.param)
    source = GradientExtractor([tiny_model], FeatureSpec(plan=PLAN, projection=Projection("none")))
    kind = PRECONDITIONERS.load(request.param)

    def build(images: int | None = 4):
        preconditioner = kind(settings, source.layers)
        if images is not None:
            batch = tiny_model.encode(tiny_images, range(images))
            preconditioner.fit(source.engines[0], expand(tiny_model, batch, PLAN, "train"))
        return preconditioner

    build.layers = source.layers
    return build


def draw(layers, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, layer.size, generator=generator) for layer in layers]


def test_shapes_and_type_stay(fit):
    gradients = draw(fit.layers, 0)
    results = fit().apply(gradients)
    assert [r.shape for r in results] == [g.shape for g in gradients]
    assert all(r.dtype == torch.float32 and torch.isfinite(r).all() for r in results)


def test_it_is_linear_and_does_not_change_its_input(fit):
    preconditioner, first, second = fit(), draw(fit.layers, 0), draw(fit.layers, 1)
    copies = [g.clone() for g in first]
    sums = preconditioner.apply([2 * a + b for a, b in zip(first, second, strict=True)])
    parts = zip(preconditioner.apply(first), preconditioner.apply(second), strict=True)
    for total, (a, b) in zip(sums, parts, strict=True):
        torch.testing.assert_close(total, 2 * a + b, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(first, copies, strict=True))


def test_the_state_is_all_that_it_learned(fit):
    preconditioner, other, gradients = fit(), fit(None), draw(fit.layers, 0)
    other.load_state(preconditioner.state())
    for a, b in zip(preconditioner.apply(gradients), other.apply(gradients), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_a_second_fit_is_the_same(fit):
    first, second = fit().state(), fit().state()
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.slow
def test_other_images_make_another_estimate(fit):
    few, many = fit(2).state(), fit(6).state()
    assert any((few[name] != many[name]).any() for name in few)
