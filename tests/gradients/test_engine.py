"""Gradients against plain autograd, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from creditline.errors import DataError, NumericsError, SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import Trajectory, expand
from creditline.gradients.objective import Objective
from creditline.gradients.parameters import select_layers
from creditline.gradients.projection import Projection
from creditline.gradients.projection.two_sided import TwoSidedProjection
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=4, draws=2)


def noised_images(model, images, plan=PLAN, indices=(0, 1, 2)):
    results = expand(model, model.encode(images, list(indices)), plan, "train")
    return [noised.to(model.device, model.dtype) for noised in results]


@pytest.fixture(params=[AutogradEngine, HookEngine])
def engine(request):
    """Makes one engine of either kind."""

    def make(
        model, objective="simple", normalize="none", microbatch=64, pattern="*", rank=None, **more
    ):
        layers = select_layers(model.module, pattern)
        two_sided = None if rank is None else TwoSidedProjection(layers, rank, seed=0)
        settings = Objective(objective, **more), normalize, two_sided, microbatch
        return request.param(model, layers, *settings)

    return make


def gradient(engine, noised, reduction="mean"):
    return [layer[0].cpu() for layer in engine.gradients([noised], reduction)]


def by_hand(model, noised, objective: Objective, part=slice(None)) -> torch.Tensor:
    """Mean over evaluations of gradients taken one evaluation at a time with `.backward()`."""
    total = None
    indices = range(len(noised.t))[part]
    for i in indices:
        model.module.zero_grad()
        for parameter in model.module.parameters():
            parameter.requires_grad_(True)
        x0, noise, t = noised.x0[i : i + 1], noised.noise[i : i + 1], noised.t[i : i + 1]
        x_t = model.process.add_noise(x0, noise, t)
        condition = {k: v[i : i + 1] for k, v in noised.condition.items()}
        output = model.predict(x_t, t, condition)
        objective(model.process, output, x0, noise, t).sum().backward()
        flat = torch.cat([p.grad.flatten().double() for p in model.module.parameters()])
        total = flat if total is None else total + flat
    model.module.zero_grad()
    return total.cpu() / len(indices)


def flat(layers) -> torch.Tensor:
    return torch.cat([layer.double() for layer in layers], dim=1)


def assert_near(a, b, tolerance=1e-5):
    assert torch.linalg.norm(a - b) <= tolerance * torch.linalg.norm(b)


def in_module_order(model, layers):
    """Reorder a layer-wise gradient to the order of `module.parameters()`."""
    selection = select_layers(model.module)
    named = dict(model.module.named_parameters())
    pieces = {}
    for layer, values in zip(selection, layers, strict=True):
        start = 0
        for name in layer.parameters:
            pieces[name] = values[:, start : start + named[name].numel()]
            start += named[name].numel()
    return torch.cat([pieces[name].double() for name in named], dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["simple", "square-norm", "elbo", "average"])
def test_equal_to_plain_autograd(tiny_model, tiny_images, objective, engine):
    for noised in noised_images(tiny_model, tiny_images):
        mine = in_module_order(tiny_model, gradient(engine(tiny_model, objective), noised))[0]
        assert_near(mine, by_hand(tiny_model, noised, Objective(objective)))


@pytest.mark.slow
def test_microbatches_do_not_change_the_gradient(tiny_model, tiny_images, engine):
    noised = noised_images(tiny_model, tiny_images)[0]
    full = flat(gradient(engine(tiny_model), noised))
    for size in (1, 3, 5):
        assert_near(flat(gradient(engine(tiny_model, microbatch=size), noised)), full)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["count-sketch", "two-sided"])
@pytest.mark.parametrize("engine", ["autograd", "hooks"])
def test_a_feature_does_not_depend_on_other_images_in_the_call(
    tiny_model, tiny_images, kind, engine
):
    """To the last bit where each image has passes of its own, and to rounding where it has not."""
    tolerance = 0 if engine == "autograd" else 1e-5
    spec = FeatureSpec(plan=PLAN, projection=Projection(kind, dim=256), engine=engine)  # type: ignore[arg-type]
    source = GradientExtractor([tiny_model], spec)
    together = source.extract(tiny_images, [0, 1, 2, 3])
    alone = np.concatenate([source.extract(tiny_images, [i]) for i in (0, 1, 2, 3)])
    reverse = source.extract(tiny_images, [3, 2, 1, 0])[::-1]
    scale = tolerance * np.linalg.norm(together, axis=-1).max()
    assert_allclose(alone, together, rtol=0, atol=scale)
    assert_allclose(reverse, together, rtol=0, atol=scale)


def test_gradients_of_timesteps_average_to_the_mean_gradient(tiny_model, tiny_images, engine):
    noised = noised_images(tiny_model, tiny_images)[0]
    apart = flat(gradient(engine(tiny_model), noised, reduction="timesteps"))
    assert apart.shape[0] == PLAN.timesteps
    assert_near(apart.mean(0, keepdim=True), flat(gradient(engine(tiny_model), noised)))


def test_normalized_timesteps_have_unit_length(tiny_model, tiny_images, engine):
    noised = noised_images(tiny_model, tiny_images)[0]
    units = flat(gradient(engine(tiny_model, normalize="timestep"), noised, reduction="timesteps"))
    torch.testing.assert_close(
        units.norm(dim=1), torch.ones(PLAN.timesteps, dtype=torch.float64), rtol=1e-5, atol=0
    )
    mean = flat(gradient(engine(tiny_model, normalize="timestep"), noised))
    assert_near(mean, units.mean(0, keepdim=True))


def test_normalized_timesteps_ignore_the_loss_scale_of_a_timestep(tiny_model, tiny_images, engine):
    """ReTrac's invariance: 'sum' and 'mean' differ by a factor, unit gradients do not."""
    noised = noised_images(tiny_model, tiny_images)[0]
    results = [
        flat(gradient(engine(tiny_model, "simple", "timestep", reduction=reduction), noised))
        for reduction in ("mean", "sum")
    ]
    assert_near(*results)


def test_interpolation_is_linear_between_square_norm_and_simple(tiny_model, tiny_images, engine):
    """The gradient is 2 (o - eta y) do: linear in eta."""
    noised = noised_images(tiny_model, tiny_images)[0]

    def between(eta):
        return flat(gradient(engine(tiny_model, "interpolation", eta=eta), noised))

    simple = flat(gradient(engine(tiny_model, "simple"), noised))
    square = flat(gradient(engine(tiny_model, "square-norm"), noised))
    assert_near(between(1.0), simple)
    assert_near(between(0.0), square)
    assert_near(between(0.3), 0.3 * simple + 0.7 * square, 1e-4)


def test_parameters_outside_the_pattern_get_no_gradient_and_are_restored(
    tiny_model, tiny_images, engine
):
    before = {n: p.requires_grad for n, p in tiny_model.module.named_parameters()}
    part = engine(tiny_model, pattern="*conv_in*")
    results = gradient(part, noised_images(tiny_model, tiny_images)[0])
    assert [layer.name for layer in part.layers] == ["conv_in"]
    assert len(results) == 1
    assert {n: p.requires_grad for n, p in tiny_model.module.named_parameters()} == before


def test_a_gradient_that_is_not_finite_names_the_image(tiny_model, tiny_images, engine):
    noised = noised_images(tiny_model, tiny_images)[0]
    noised.x0[0] = float("nan")
    with pytest.raises(NumericsError, match=noised.image_id):
        gradient(engine(tiny_model), noised)


def test_gradients_along_a_trajectory(tiny_model, tiny_images, engine):
    run = Trajectory(np.array([900, 500, 0]), np.zeros((3, *tiny_model.sample_shape), np.float32))
    plan = NoisePlan("trajectory", draws=2)
    batch = tiny_model.encode(tiny_images, [0])
    (noised,) = expand(tiny_model, batch, plan, "query", [run])
    assert noised.t.tolist() == [900, 900, 500, 500, 0, 0]
    assert not noised.x0.any()
    results = gradient(engine(tiny_model), noised, reduction="timesteps")
    assert results[0].shape[0] == 3
    with pytest.raises(DataError, match="sampling trajectory"):
        expand(tiny_model, batch, plan, "query", [None])


@pytest.mark.parametrize(("timesteps", "draws"), [(6, 1), (5, 1), (3, 2), (4, 3)])
def test_halves_share_no_noise_and_average_to_the_mean_gradient(
    tiny_model, tiny_images, timesteps, draws, engine
):
    plan = NoisePlan(timesteps=timesteps, draws=draws)
    batch = tiny_model.encode(tiny_images, [0])
    (noised,) = expand(tiny_model, batch, plan, "train")
    first, second = noised.halves()
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(timesteps * draws))
    assert 0 <= len(first) - len(second) <= 1
    if draws % 2 == 0:
        assert torch.equal(noised.t[first].unique(), noised.t[second].unique())
    halves = flat(gradient(engine(tiny_model), noised, reduction="halves"))
    full = flat(gradient(engine(tiny_model), noised))
    assert halves.shape == (2, full.shape[1])
    sizes = torch.tensor([len(first), len(second)])[:, None]
    assert_allclose((halves * sizes).sum(0) / len(noised.t), full[0], rtol=1e-4, atol=1e-6)


def test_halves_of_normalized_timesteps_average_to_the_mean_gradient(
    tiny_model, tiny_images, engine
):
    plan = NoisePlan(timesteps=4, draws=2)
    (noised,) = expand(tiny_model, tiny_model.encode(tiny_images, [0]), plan, "train")
    unit = engine(tiny_model, normalize="timestep")
    halves = flat(gradient(unit, noised, "halves"))
    apart = flat(gradient(unit, noised, "timesteps"))
    assert_allclose(halves[0], apart[::2].mean(0), rtol=1e-5, atol=1e-7)
    assert_allclose(halves.mean(0), flat(gradient(unit, noised))[0], rtol=1e-4, atol=1e-6)


def test_one_evaluation_has_no_halves(tiny_model, tiny_images):
    plan = NoisePlan(timesteps=1)
    (noised,) = expand(tiny_model, tiny_model.encode(tiny_images, [0]), plan, "train")
    with pytest.raises(SettingsError, match="two evaluations of an image"):
        noised.halves()


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["none", pytest.param("timestep", marks=pytest.mark.long)])
def test_the_split_half_error_matches_independent_noise(tiny_model, tiny_images, normalize):
    """Mean square of the error's sample against the spread of features over seeds."""
    results = []
    for seed in range(24):
        plan = NoisePlan(timesteps=2, draws=4, noise_seed=seed)
        if normalize == "timestep":
            plan = NoisePlan("random", timesteps=8, noise_seed=seed)
        spec = FeatureSpec(plan=plan, projection=Projection("none"), normalize=normalize)
        source = GradientExtractor([tiny_model], spec)
        results.append(source.extract(tiny_images, range(3), reduction="halves")[:, :, 0])
    values = np.stack(results).astype(np.float64)
    spread = values[:, :, 0].var(axis=0, ddof=1).sum(-1)
    stated = (values[:, :, 1] ** 2).mean(0).sum(-1)
    assert_allclose(stated / spread, 1, atol=0.35)
    exact = GradientExtractor([tiny_model], spec).extract(tiny_images, range(3))
    assert_allclose(values[-1, :, 0], exact[:, 0, 0], rtol=1e-3, atol=1e-5)
