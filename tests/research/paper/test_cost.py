"""Costs are counted, the speed is measured, and hours are their product."""

from __future__ import annotations

from dataclasses import replace

import pytest

from creditline.diffusion import presets
from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.errors import SettingsError
from creditline_research.paper.cost import MachineSpeed, RecipeCost, count_costs, measure
from creditline_research.paper.recipes import RECIPES, recipe


def part(parts, name):
    return next(p for p in parts if p.name == name)


def test_the_papers_costs_on_cifar2():
    parts = count_costs(recipe("cifar2"))
    model = part(parts, "the model")
    assert (model.models, model.steps, model.images) == (1, 8000, 1_000_000)
    retrained = part(parts, "ground truth: models")
    assert (retrained.models, retrained.steps, retrained.images) == (192, 192 * 4000, 96_000_000)
    # 64 subsets, 3 seeds, 3 draws, 1,000 timesteps, 1,000 queries: 576 million, twice
    assert part(parts, "ground truth: losses").forwards == 2 * 576_000_000
    assert part(parts, "features").gradients == 5 * 110 * 7000
    assert part(parts, "datamodels: models").models == 512
    assert part(parts, "counterfactual, 1000 removed").models == 180
    assert part(parts, "generated queries").forwards == 50_000


def test_guidance_doubles_sampling_alone():
    with_guidance = count_costs(recipe("artbench5"))
    assert part(with_guidance, "generated queries").forwards == 100_000
    assert {p.name for p in with_guidance}.isdisjoint({"datamodels: models", "ensembles: features"})


@pytest.mark.parametrize("name", RECIPES)
def test_a_smaller_scale_costs_less(name):
    paper, small = count_costs(recipe(name)), count_costs(recipe(name).scaled(0.1))
    assert sum(p.images for p in small) < sum(p.images for p in paper) / 20
    assert sum(p.forwards for p in small) < sum(p.forwards for p in paper) / 100


def test_hours_are_costs_times_speed():
    speed = MachineSpeed(step=2.0, image=0.5, forward=0.25, device="cpu", batch=2)
    cost = RecipeCost("x", steps=100, images=1000, forwards=400, gradients=200)
    assert speed.hours(cost) == pytest.approx((200 + 500 + 100 + 100) / 3600)


@pytest.mark.slow
def test_the_speed_is_measured_by_training(monkeypatch):
    config = TrainConfig(unet=UNetConfig(resolution=8, channels=(8,), groups=4, classes=2))
    monkeypatch.setitem(presets.PRESETS, "tiny-8", config)
    tiny = replace(recipe("cifar2"), resolution=8, network="tiny-8")
    speed = measure(tiny, steps=1)
    assert min(speed.step, speed.image, speed.forward) > 0
    assert (speed.device, speed.batch) == ("cpu", 2)
    assert speed.forward < speed.image
    with pytest.raises(SettingsError, match="at least 1 step"):
        measure(tiny, steps=0)
