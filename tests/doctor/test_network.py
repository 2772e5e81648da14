"""Faults of the network fail by name, and sound networks pass."""

from __future__ import annotations

import pytest
import torch
from torch import nn


@pytest.mark.slow
def test_sound_network_passes(make, examine):
    diagnosis = examine(make())
    assert not diagnosis.failed
    assert {f.status for f in diagnosis.findings} == {"ok"}


@pytest.mark.slow
def test_dropout_in_training_mode_fails(make, examine):
    model = make(nn.Dropout(0.2))
    assert not examine(model).failed
    model.module.train()
    diagnosis = examine(model)
    assert diagnosis["evaluation mode"].status == "fail"
    assert "middle (Dropout)" in diagnosis["evaluation mode"].text
    assert diagnosis["repeatable"].status == "fail"


@pytest.mark.slow
def test_functional_randomness_is_caught_by_repetition(make, examine):
    class Noisy(nn.Module):
        def forward(self, x):
            return x + 0.1 * torch.randn_like(x)

    diagnosis = examine(make(Noisy()))
    assert diagnosis["evaluation mode"].status == "ok"
    assert diagnosis["repeatable"].status == "fail"


@pytest.mark.slow
def test_training_mode_without_effect_is_noted(make, examine):
    model = make()
    model.module.train()
    diagnosis = examine(model)
    assert diagnosis["evaluation mode"].status == "warn"
    assert not diagnosis.failed


@pytest.mark.slow
def test_module_called_twice_is_named_and_fine(make, examine):
    diagnosis = examine(make(nn.Conv2d(8, 8, 1), twice=True))
    assert not diagnosis.failed
    assert "middle (2 times)" in diagnosis["repeated modules"].text
    assert diagnosis["equal to autograd"].status == "ok"


@pytest.mark.slow
def test_shared_weights_are_named_and_fine(make, examine):
    model = make(nn.Sequential(nn.Conv2d(8, 8, 1), nn.Tanh(), nn.Conv2d(8, 8, 1)))
    model.module.middle[2].weight = model.module.middle[0].weight
    diagnosis = examine(model)
    assert not diagnosis.failed
    assert "middle.2.weight = middle.0.weight" in diagnosis["repeated modules"].text


def test_nan_weight_fails_and_is_named(make, examine):
    model = make()
    with torch.no_grad():
        model.module.last.weight[0, 0, 0, 0] = float("nan")
    diagnosis = examine(model)
    assert diagnosis.failed
    assert "last.weight" in diagnosis["finite weights"].text
    assert diagnosis["finite gradients"].status == "fail"
    assert "not finite" in diagnosis["curvature fit"].text
    assert diagnosis.cost is None
    assert "No cost" in str(diagnosis)


@pytest.mark.slow
def test_half_precision_is_noted_with_a_remedy(make, examine):
    model = make()
    model.module.half()
    finding = examine(model)["precision"]
    assert finding.status == "warn"
    assert "float32" in finding.remedy


@pytest.mark.slow
def test_half_precision_that_loses_the_gradient_fails(make, examine):
    class Scaled(nn.Module):
        def forward(self, x):
            return (x + 1000) - 1000  # half precision has steps of 0.5 at 1000

    sound, half = make(Scaled()), make(Scaled())
    half.module.half()
    assert not examine(sound).failed
    diagnosis = examine(half)
    assert diagnosis.failed
    assert diagnosis["equal to autograd"].status == "fail"


@pytest.mark.slow
def test_parameters_left_out_are_named_with_the_share(make, examine):
    model = make()
    total = sum(p.numel() for p in model.module.parameters())
    selected = model.module.last.weight.numel()
    finding = examine(model, parameters="last.weight", dim=64)["coverage"]
    assert finding.status == "warn"
    assert f"{selected:,} of {total:,}" in finding.text
    assert "first.weight" in finding.text


@pytest.mark.slow
def test_foreign_attention_is_noted(make, examine):
    middle = nn.GroupNorm(4, 8)
    middle.processor = type("XFormersAttnProcessor", (), {})()
    finding = examine(make(middle))["attention"]
    assert finding.status == "warn"
    assert "XFormersAttnProcessor" in finding.text


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["average", "elbo"])
def test_unet_passes_under_every_kind_of_objective(tiny_model, examine, objective):
    diagnosis = examine(tiny_model, objective=objective, draws=2)
    assert not diagnosis.failed
    assert "AttnProcessor2_0" in diagnosis["attention"].text
