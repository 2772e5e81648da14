"""Feature sources: which engine they take, and that it changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tests.device import of_cpus
from tests.small_projection import small_projection

from creditline.errors import ModelError, NumericsError, SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.projection.count_sketch import SketchAccumulator
from creditline.gradients.spec import FeatureSpec

PLAN = NoisePlan(timesteps=4, draws=2)
LONG = NoisePlan(timesteps=20, draws=2)


def source(model, projection="two-sided", engine="auto", plan=PLAN, **more):
    settings = small_projection(projection)
    return GradientExtractor(
        [model], FeatureSpec(plan=plan, projection=settings, engine=engine, **more)
    )


@pytest.mark.parametrize(
    ("projection", "engine", "plan", "more", "kind"),
    [
        ("two-sided", "auto", PLAN, {}, HookEngine),
        ("two-sided", "auto", LONG, {}, HookEngine),
        ("two-sided", "autograd", PLAN, {}, AutogradEngine),
        ("count-sketch", "auto", PLAN, {}, HookEngine),
        pytest.param("none", "auto", LONG, {}, AutogradEngine, marks=of_cpus),
        ("none", "auto", LONG, {"normalize": "timestep"}, HookEngine),
        ("none", "hooks", LONG, {}, HookEngine),
        ("none", "autograd", PLAN, {}, AutogradEngine),
    ],
)
def test_engine(tiny_model, projection, engine, plan, more, kind):
    assert type(source(tiny_model, projection, engine, plan, **more).engines[0]) is kind


@of_cpus
def test_autograd_computes_large_explicit_gradients(tiny_model, monkeypatch):
    monkeypatch.setattr("creditline.gradients.engine_choice.SMALL", 1000)
    assert type(source(tiny_model, "none").engines[0]) is AutogradEngine
    assert type(source(tiny_model, "two-sided").engines[0]) is HookEngine


def test_autograd_computes_explicit_gradients_that_hooks_cannot(tiny_model):
    tiny_model.module.register_parameter("scale", torch.nn.Parameter(torch.ones(1)))
    assert type(source(tiny_model, "none").engines[0]) is AutogradEngine
    assert type(source(tiny_model, "none", "hooks").engines[0]) is HookEngine


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["none", "timestep"])
@pytest.mark.parametrize("projection", ["two-sided", "count-sketch", "none"])
@pytest.mark.parametrize("reduction", ["mean", "halves", "timesteps"])
def test_engines_give_the_same_features(tiny_model, tiny_images, projection, reduction, normalize):
    a, b = (
        source(tiny_model, projection, engine, normalize=normalize).extract(
            tiny_images, range(5), reduction=reduction
        )
        for engine in ("autograd", "hooks")
    )
    assert_allclose(b, a, rtol=0, atol=1e-5 * np.linalg.norm(a, axis=-1).max())


def test_unknown_engine():
    with pytest.raises(SettingsError, match="hooks"):
        FeatureSpec(engine="hook")


@pytest.mark.slow
def test_a_network_that_hooks_do_not_see_is_refused_before_long_work(tiny_model, tiny_images):
    source(tiny_model).check(tiny_images)
    norm = tiny_model.module.conv_norm_out

    class Around(torch.nn.Module):
        """Uses the weights of another module."""

        def forward(self, x):
            return torch.nn.functional.group_norm(
                x, norm.num_groups, norm.weight, norm.bias, norm.eps
            )

    around = Around()
    around.inner = norm
    tiny_model.module.conv_norm_out = around
    with pytest.raises(ModelError, match=r"conv_norm_out\.inner.*--engine autograd"):
        source(tiny_model).check(tiny_images)
    source(tiny_model, engine="autograd").check(tiny_images)


@pytest.mark.parametrize("projection", ["two-sided", "count-sketch", "gaussian"])
@pytest.mark.parametrize("engine", ["autograd", "hooks"])
def test_a_feature_that_is_not_finite_names_image_and_layer(
    tiny_model, tiny_images, projection, engine
):
    mine = source(tiny_model, projection, engine, batch_size=8)
    mine.extract(tiny_images, range(2))
    with torch.no_grad():
        tiny_model.module.conv_out.bias[0] = torch.nan
    with pytest.raises(NumericsError, match=f"{tiny_images.ids[0]}.*not finite in layer '"):
        mine.extract(tiny_images, range(2))


@pytest.mark.slow
def test_a_projection_that_overflows_is_refused_too(tiny_model, tiny_images, monkeypatch):
    mine, features = source(tiny_model), SketchAccumulator.features
    monkeypatch.setattr(SketchAccumulator, "features", lambda self: features(self) * torch.inf)
    with pytest.raises(NumericsError, match=f"{tiny_images.ids[0]} is finite, but its projection"):
        mine.extract(tiny_images, range(2))
