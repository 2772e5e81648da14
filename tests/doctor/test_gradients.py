"""Gradient checks: coupled images fail, exact gradients pass, the model is unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from creditline.doctor.gradients import relative_error
from creditline.errors import ModelError, SettingsError
from creditline.gradients.hook_engine import HookEngine


@pytest.mark.slow
def test_batch_statistics_fail_both_gradient_checks(make, examine):
    model = make(nn.BatchNorm2d(8))
    assert not examine(model).failed, "with fixed statistics it is an affine map"
    model.module.train()
    diagnosis = examine(model)
    assert diagnosis["batch composition"].status == "fail"
    assert diagnosis["equal to autograd"].status == "fail"


def test_coupling_without_batch_statistics_fails(make, examine):
    class Coupled(nn.Module):
        def forward(self, x):
            return x - x.mean(0, keepdim=True)

    diagnosis = examine(make(Coupled()))
    assert diagnosis["evaluation mode"].status == "ok"
    assert diagnosis["batch composition"].status == "fail"


@pytest.mark.slow
def test_a_wrong_engine_fails(make, examine, monkeypatch):
    original = HookEngine.mean_gradients

    def doubled(self, work):
        return [2 * layer for layer in original(self, work)]

    monkeypatch.setattr(HookEngine, "mean_gradients", doubled)
    diagnosis = examine(make())
    assert diagnosis["equal to autograd"].status == "fail"
    assert diagnosis["batch composition"].status == "ok"
    assert "hooks, which do not fit" in diagnosis["curvature fit"].text
    assert diagnosis.cost is None


@pytest.mark.slow
@pytest.mark.parametrize("normalize", ["none", "timestep"])
@pytest.mark.parametrize("draws", [1, 3])
def test_reference_follows_the_settings(make, examine, normalize, draws):
    settings = {"normalize": normalize, "draws": draws, "parameters": "*,!first.*", "dim": 64}
    diagnosis = examine(make(), **settings)
    assert diagnosis["equal to autograd"].status == "ok"


@pytest.mark.slow
def test_unused_parameters_are_named(make, examine):
    model = make()
    model.module.spare = nn.Linear(3, 5)
    finding = examine(model)["unused parameters"]
    assert finding.status == "warn"
    assert "spare.weight" in finding.text
    assert "20 parameters" in finding.text
    assert examine(model, parameters="*,!spare*")["unused parameters"].status == "ok"


@pytest.mark.slow
def test_dominating_timestep_is_noted_unless_normalized(make, examine):
    class Peaked(nn.Module):
        """Outputs are a thousand times larger at the smallest timesteps."""

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, t):
            scale = torch.where(t < 100, 1000.0, 1.0).to(x.dtype)
            return self.inner(x, t) * scale.view(-1, 1, 1, 1)

    model = make()
    model.module = Peaked(model.module)
    settings = {"method": "d-trak", "parameters": "inner.last*", "dim": 20}
    finding = examine(model, **settings)["timesteps"]
    assert finding.status == "warn"
    assert "t=0 is" in finding.text
    assert "normalize='timestep'" in finding.remedy
    assert examine(model, normalize="timestep", **settings)["timesteps"].status == "ok"


def test_overflow_of_the_objective_fails(make, examine):
    class Huge(nn.Module):
        def forward(self, x):
            return x * 1e30

    model = make(nn.Identity())
    model.module.last = nn.Sequential(model.module.last, Huge())
    diagnosis = examine(model)
    assert "objective is not finite in 12 of 12" in diagnosis["finite gradients"].text
    assert diagnosis.cost is None


@pytest.mark.slow
def test_nothing_of_the_model_changes(make, examine):
    model = make(nn.BatchNorm2d(8))
    model.module.train()
    model.module.first.weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    examine(model)
    assert torch.equal(torch.rand(3), expected), "the random state is the user's"
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert model.module.training
    assert not model.module.first.weight.requires_grad
    assert all(p.grad is None for p in model.module.parameters())
    assert not any(m._forward_hooks for m in model.module.modules())


def test_relative_error_of_zeros():
    zero, one = torch.zeros(2), torch.ones(2)
    assert relative_error(zero, zero) == 0
    assert relative_error(one, zero) == math.inf
    assert relative_error(one * 1.5, one) == pytest.approx(0.5)


def test_methods_without_gradients_are_refused(make, examine):
    with pytest.raises(SettingsError, match="takes none"):
        examine(make(), method="pixel-dot", timesteps=4)


@pytest.mark.parametrize("name", ["samples", "n"])
def test_counts_below_one_are_refused(make, examine, name):
    with pytest.raises(SettingsError, match=f"{name} must be at least 1"):
        examine(make(), **{name: 0})


def test_other_channels_are_refused(make, examine):
    model = make()
    model.image_shape = (4, 8, 8)
    with pytest.raises(ModelError, match="takes 4"):
        examine(model)
