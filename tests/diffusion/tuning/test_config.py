"""Settings of tuning refuse what cannot be trained with."""

from __future__ import annotations

import pytest

from creditline.diffusion.tuning.config import AdapterConfig, TuneConfig
from creditline.errors import SettingsError
from creditline.settings import from_dict, override, to_dict


def test_it_survives_a_manifest():
    config = override(TuneConfig(), {"lora_rank": 4, "lora_targets": ("to_q",), "epochs": 3})
    assert from_dict(TuneConfig, to_dict(config)) == config


def test_epochs_are_steps_of_whole_passes():
    config = TuneConfig(epochs=3, batch_size=4)
    assert config.with_steps(9).steps == 9
    assert config.with_steps(8).steps == 6
    assert config.with_steps(8).with_steps(100) == config.with_steps(8)
    assert TuneConfig(steps=5).with_steps(9).steps == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_rank": 0}, "lora_rank must be at least 1; got 0"),
        ({"lora_alpha": 2.0}, "there is no lora_rank; got 2.0"),
        ({"lora_targets": ("to_q",)}, "there is no lora_rank"),
        ({"lora_rank": 2, "lora_alpha": 0.0}, "lora_alpha must be positive"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"accumulate": 17}, "accumulate is at most the batch_size 16"),
        ({"caption_dropout": 1.0}, r"caption_dropout must be in \[0, 1\)"),
        ({"epochs": -1}, "epochs must not be negative"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"precision": "fp8"}, "Unknown precision 'fp8'"),
    ],
)
def test_what_cannot_be(values, message):
    with pytest.raises(SettingsError, match=message):
        override(TuneConfig(), values)


def test_an_adapter_may_have_any_positive_scale():
    assert AdapterConfig(4, 0.5).lora_alpha == 0.5
