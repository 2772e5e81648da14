"""Features in half precision: near those of float32, scaled where they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from creditline.diffusion import precision as precisions
from creditline.errors import NumericsError, SettingsError
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec


def features(model, images, precision, engine="hooks", objective="simple"):
    spec = FeatureSpec(
        objective=Objective(objective),
        plan=NoisePlan(timesteps=6),
        projection=Projection("two-sided", 128, rank=6),
        engine=engine,
        precision=precision,
    )
    return GradientExtractor([model], spec).extract(images, range(4))[:, 0, 0]


def distance(a, b) -> float:
    return float((np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["hooks", "autograd"])
@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.05), ("fp16", 0.01)])
def test_features_agree_with_float32_to_a_few_digits(
    tiny_model, tiny_images, precision, tolerance, engine
):
    exact = features(tiny_model, tiny_images, "fp32", engine)
    results = features(tiny_model, tiny_images, precision, engine)
    assert results.dtype == np.float32
    assert 0 < distance(results, exact) < tolerance


@pytest.mark.slow
def test_small_gradients_do_not_underflow(tiny_model, tiny_images, monkeypatch):
    def results(precision):
        spec = FeatureSpec(projection=Projection("two-sided", 128, rank=6), precision=precision)
        source = GradientExtractor([tiny_model], spec)
        full = source.engines[0].objective
        source.engines[0].objective = lambda *batch: 1e-5 * full(*batch)
        return source.extract(tiny_images, range(2))[:, 0, 0]

    exact = results("fp32")
    assert distance(results("fp16"), exact) < 0.05
    monkeypatch.setitem(precisions.SCALE, "fp16", 1.0)
    assert distance(results("fp16"), exact) > 0.2, "without the scale"


@pytest.mark.slow
def test_an_overflow_is_an_error(tiny_model, tiny_images):
    with torch.no_grad():
        tiny_model.module.conv_out.weight.mul_(1e4)
    with pytest.raises(NumericsError, match=r"not finite.*fp16 before bf16"):
        features(tiny_model, tiny_images, "fp16", objective="square-norm")


@pytest.mark.slow
def test_verification_ignores_rounding(tiny_model, tiny_images):
    spec = FeatureSpec(projection=Projection("two-sided", 128, rank=6), precision="bf16")
    source = GradientExtractor([tiny_model], spec)
    source.check(tiny_images)
    assert source.engines[0].precision == "bf16"


def test_an_unknown_precision_is_refused():
    with pytest.raises(SettingsError, match="bf16"):
        FeatureSpec(precision="bf61")
