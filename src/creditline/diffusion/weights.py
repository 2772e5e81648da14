"""Fingerprints of networks: their weights as values, whatever type holds them."""

from __future__ import annotations

from typing import Any

from creditline import fingerprint


def fingerprint_of(module: Any) -> str:
    """Hash of every array of a module's state, as float32."""
    arrays = [
        (name, value.detach().cpu().float().numpy()) for name, value in module.state_dict().items()
    ]
    return fingerprint.of_arrays(arrays)
