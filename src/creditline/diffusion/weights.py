"""Fingerprints of network weights."""

from __future__ import annotations

from typing import Any

from creditline import fingerprint


def fingerprint_weights(module: Any) -> str:
    """Hash every array of a module's state, converted to float32."""
    arrays = [
        (name, value.detach().cpu().float().numpy()) for name, value in module.state_dict().items()
    ]
    return fingerprint.of_arrays(arrays)
