"""Half precision is refused where a device has none."""

from __future__ import annotations

import pytest
import torch

from creditline.diffusion.precision import require_precision
from creditline.errors import SettingsError


def test_a_device_without_autocast(monkeypatch):
    require_precision("fp32", torch.device("meta"))
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: False)
    with pytest.raises(SettingsError, match="'cpu' does not calculate in bf16"):
        require_precision("bf16", torch.device("cpu"))


def test_tf32_is_for_gpus_that_have_it(monkeypatch):
    with pytest.raises(SettingsError, match="'cpu' does not calculate in tf32"):
        require_precision("tf32", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    with pytest.raises(SettingsError, match="does not calculate in tf32"):
        require_precision("tf32", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    require_precision("tf32", torch.device("cuda"))


def test_a_gpu_without_such_numbers(monkeypatch):
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    with pytest.raises(SettingsError, match="does not calculate in bf16"):
        require_precision("bf16", torch.device("cuda"))
    require_precision("fp16", torch.device("cuda"))
