"""What every registered preconditioner keeps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from creditline.errors import IndexMismatchError
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.fit import fit_preconditioner
from creditline.gradients.preconditioning.settings import PRECONDITIONERS
from creditline.runtime import Runtime


@pytest.fixture(params=PRECONDITIONERS.names())
def fit(request, tiny_model, tiny_images, tmp_path):
    """`fit(images)`: a new preconditioner of this name, fitted to this many training images."""
    settings = Preconditioning(request.param, preconditioner_draws=8)
    layers = select_layers(tiny_model.module)
    kind = PRECONDITIONERS.load(request.param)
    fits = itertools.count()

    def build(images: int | None = 4, microbatch: int = 8):
        preconditioner = kind(settings, layers)
        if images is not None:
            engine = HookEngine(tiny_model, layers, Objective(), microbatch=microbatch)
            some, folder = tiny_images.subset(range(images)), tmp_path / str(next(fits))
            fit_preconditioner(preconditioner, engine, some, folder, Runtime())
        return preconditioner

    build.layers = layers
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
        expected = 2 * a + b
        torch.testing.assert_close(total, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
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


@pytest.mark.slow
def test_it_does_not_depend_on_the_size_of_passes(fit):
    gradients = draw(fit.layers, 0)
    for a, b in zip(fit().apply(gradients), fit(microbatch=3).apply(gradients), strict=True):
        # Eigenvectors of nearly equal eigenvalues may differ; inner products do not.
        torch.testing.assert_close(a @ a.mT, b @ b.mT, rtol=2e-3, atol=1e-4)


@pytest.mark.slow
def test_a_state_of_other_shapes_is_refused(fit):
    state, other = fit().state(), fit(None)
    for name in state:
        with pytest.raises(IndexMismatchError, match="was changed"):
            other.load_state({**state, name: state[name][:-1]})
        with pytest.raises(IndexMismatchError, match="holds nothing"):
            other.load_state({k: v for k, v in state.items() if k != name})
        with pytest.raises(IndexMismatchError, match="finite"):
            other.load_state({**state, name: np.full_like(state[name], np.nan)})
