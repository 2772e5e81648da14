"""Training settings: networks of the right size, and numbers that make sense."""

from __future__ import annotations

import pytest
import torch

from creditline.diffusion.config import TrainConfig, UNetConfig
from creditline.diffusion.presets import PRESETS, preset
from creditline.errors import SettingsError
from creditline.settings import from_dict, to_dict


def parameters(config):
    with torch.device("meta"):  # shapes without memory or arithmetic
        return sum(p.numel() for p in config.unet.build().parameters())


@pytest.mark.parametrize(("name", "n"), [("cifar", 38_307_203), ("celeba", 118_795_011)])
def test_the_papers_networks_have_the_papers_size(name, n):
    assert parameters(preset(name)) == n


@pytest.mark.parametrize("name", ["cifar", "celeba"])
def test_the_papers_recipe(name):
    config = preset(name)
    assert config.learning_rate == 1e-4
    assert (config.beta1, config.beta2, config.weight_decay) == (0.95, 0.999, 1e-6)
    assert (config.batch_size, config.steps, config.warmup, config.clip) == (128, 8000, 0.1, 1.0)
    assert (config.flip, config.ema, config.unet.dropout) == (True, 0.0, 0.1)
    assert (config.beta_schedule, config.prediction) == ("linear", "epsilon")
    assert config.unet.scale_shift
    assert config.unet.resolution == {"cifar": 32, "celeba": 64}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar", "celeba"])
def test_dropout_reaches_every_dropout_layer(name):
    with torch.device("meta"):
        unet = preset(name).unet.build()
    layers = {n: m.p for n, m in unet.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert any("attentions" in n for n in layers)
    assert any("resnets" in n for n in layers)
    assert set(layers.values()) == {0.1}


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_builds_and_survives_writing(name):
    config = preset(name)
    assert from_dict(TrainConfig, to_dict(config)) == config
    assert parameters(config) > 100_000
    assert str(config.unet.resolution) in {"16", "24", "32", "64"}


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'small-32'"):
        preset("smal-32")


def test_random_weights_repeat():
    config = UNetConfig(8, (8, 16))
    torch.manual_seed(4)
    one = config.build().state_dict()
    torch.manual_seed(4)
    other = config.build().state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_class_conditional_networks_take_classes():
    unet = UNetConfig(8, (8, 16), classes=5).build()
    assert unet.class_embedding.num_embeddings == 5


@pytest.mark.parametrize(
    "values",
    [
        {"channels": ()},
        {"channels": (8, 12)},
        {"channels": (8, 0)},
        {"resolution": 18, "channels": (8, 16, 32)},
        {"attention": (2,)},
        {"attention": (-1,)},
        {"groups": 0},
        {"layers": 0},
        {"head_dim": 0},
        {"head_dim": 24},
        {"dropout": 1.0},
        {"classes": -1},
    ],
)
def test_networks_that_cannot_be_built_are_refused(values):
    with pytest.raises(SettingsError):
        UNetConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip": 0.0},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"weight_decay": -1.0},
        {"warmup": 1.0},
        {"ema": 1.0},
        {"seed": -1},
        {"checkpoint_every": -1},
        {"sample_every": -1},
        {"beta_schedule": "linaer"},
        {"prediction": "eps"},
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused(values):
    with pytest.raises(SettingsError):
        TrainConfig(**values)


def test_a_misspelt_schedule_suggests_the_nearest():
    with pytest.raises(SettingsError, match="Did you mean 'linear'"):
        TrainConfig(beta_schedule="linaer")


def test_zero_initialized_networks_start_by_predicting_nothing_yet_learn():
    torch.manual_seed(0)
    unet = UNetConfig(8, (8, 16), zero_init=True).build()
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([1, 900])
    output = unet(x, t).sample
    assert not output.any()
    (output - x).square().mean().backward()
    assert unet.conv_out.weight.grad.any()
