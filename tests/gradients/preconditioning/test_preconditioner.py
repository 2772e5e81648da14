"""Preconditioned features: equal to manual preconditioning of autograd's gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.errors import SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=2, draws=2)
FISHER = Preconditioning("diagonal-fisher", preconditioner_damping=0.3, preconditioner_draws=24)


def extractor(model, projection=None, preconditioning=FISHER, **more) -> GradientExtractor:
    projection = projection or Projection("none")
    spec = FeatureSpec(plan=PLAN, projection=projection, preconditioning=preconditioning, **more)
    return GradientExtractor([model], spec)


def manual(model, images, engine: str = "autograd") -> tuple[list[torch.Tensor], GradientExtractor]:
    """Explicit gradients by layer, preconditioned by the definition."""
    explicit = extractor(model, preconditioning=Preconditioning(), engine=engine)
    gradients = explicit.extract(images, range(len(images)))[:, 0, 0]
    layers = torch.from_numpy(gradients).split([layer.size for layer in explicit.layers], dim=1)
    draws = CurvatureDraws(FISHER, len(images))
    exact = AutogradEngine(model, explicit.layers, Objective(), microbatch=1)
    squares = [torch.zeros(layer.size, dtype=torch.float64) for layer in explicit.layers]
    for noised in draws.noised_images(model, images, draws.rows, 0):
        for total, one in zip(squares, exact.gradients([noised], "timesteps"), strict=True):
            total += one[0].double().square().sum(0).cpu()
    preconditioned = []
    for layer, total in zip(layers, squares, strict=True):
        fisher = total / draws.evaluations
        preconditioned.append(layer / (fisher + 0.3 * fisher.mean()).sqrt().float())
    return preconditioned, explicit


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["autograd", "hooks"])
def test_features_are_preconditioned_gradients(tiny_model, tiny_images, engine):
    expected, _ = manual(tiny_model, tiny_images)
    own = extractor(tiny_model, engine=engine)
    assert own.needs_fit
    own.fit(tiny_images)
    features = own.extract(tiny_images, range(12))[:, 0, 0]
    full = torch.cat(expected, dim=1).numpy()
    np.testing.assert_allclose(features, full, rtol=0, atol=1e-4 * np.abs(full).max())


@pytest.mark.slow
def test_preconditioning_comes_before_the_projection(tiny_model, tiny_images):
    expected, explicit = manual(tiny_model, tiny_images)
    settings = Projection("two-sided", 128, rank=6)
    own = extractor(tiny_model, settings)
    own.fit(tiny_images)
    assert own.engines[0].two_sided is None  # which spares the gradients it would need
    projector = settings.build(explicit.layers)
    by_hand = projector.project(projector.two_sided.project(expected)).numpy()
    features = own.extract(tiny_images, range(12))[:, 0, 0]
    np.testing.assert_allclose(features, by_hand, rtol=0, atol=1e-4 * np.abs(by_hand).max())


@pytest.mark.slow
def test_a_projection_is_fitted_to_preconditioned_gradients(tiny_model, tiny_images):
    settings = Projection("principal", 128, rank=6, learn_from=12)
    own = extractor(tiny_model, settings)
    own.fit(tiny_images)
    plain = extractor(tiny_model, settings, Preconditioning())
    plain.fit(tiny_images)
    arrays, others = own.state(), plain.state()
    changed = [name for name in others if not np.allclose(arrays[name], others[name], atol=1e-2)]
    assert changed


@pytest.mark.slow
def test_halves_are_preconditioned_alike(tiny_model, tiny_images):
    own = extractor(tiny_model)
    own.fit(tiny_images)
    mean = own.extract(tiny_images, range(3))
    halves = own.extract(tiny_images, range(3), reduction="halves")
    np.testing.assert_allclose(halves[:, :1], mean, rtol=0, atol=1e-4 * np.abs(mean).max())


@pytest.mark.slow
@pytest.mark.parametrize("projection", [Projection("none"), Projection("principal", 64, rank=6)])
def test_the_state_is_stored_and_loaded(tiny_model, tiny_images, projection):
    source, loaded = (extractor(tiny_model, projection) for _ in range(2))
    with pytest.raises(SettingsError, match="are not fitted"):
        loaded.extract(tiny_images, range(2))
    source.fit(tiny_images)
    loaded.load_state(source.state())
    arrays = [one.extract(tiny_images, range(2)) for one in (source, loaded)]
    assert np.array_equal(*arrays)


def test_none_is_the_path_without_a_preconditioner(tiny_model):
    spec = FeatureSpec(plan=PLAN, projection=Projection(dim=128, rank=6))
    own = GradientExtractor([tiny_model], spec)
    assert not own.needs_fit
    assert own.engines[0].two_sided is not None


@pytest.mark.slow
def test_a_layer_without_gradient_stays_zero(tiny_model, tiny_images):
    tiny_model.module.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
    own = extractor(tiny_model)
    own.fit(tiny_images)
    features = own.extract(tiny_images, range(2))[:, 0, 0]
    start = next(block.start for block in own.blocks if block.name == "")
    assert np.isfinite(features).all()
    assert not features[:, start : start + 3].any()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["autograd", "hooks"])
def test_the_engine_asked_for_computes_explicit_gradients(tiny_model, tiny_images, engine):
    own = extractor(tiny_model, Projection(dim=128, rank=6), engine=engine)
    own.fit(tiny_images)
    assert type(own.engines[0]) is {"autograd": AutogradEngine, "hooks": HookEngine}[engine]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"preconditioner": "diagonal-fischer"}, "Did you mean 'diagonal-fisher'"),
        ({"preconditioner_damping": 0.0}, "preconditioner_damping must be positive; got 0.0"),
        ({"preconditioner_draws": 0}, "preconditioner_draws must be at least 1; got 0"),
        ({"preconditioner_seed": 3}, "Without a preconditioner preconditioner_seed has no effect"),
    ],
)
def test_bad_settings(settings, word):
    with pytest.raises(SettingsError, match=word):
        Preconditioning(**settings)
