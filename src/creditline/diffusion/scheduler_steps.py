"""The number of a scheduler's noise levels, of which it makes tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from creditline.errors import ModelError

MAX_STEPS = 1_000_000
"""Most schedulers have 1,000; tables of a billion take tens of gigabytes."""


def require_steps(config: Mapping[str, Any], place: object) -> None:
    """Refuse a scheduler's config with more noise levels than fit into memory.

    Args:
        config: of the scheduler.
        place: where it is, for the message.

    Raises:
        ModelError: naming the number.
    """
    steps = config.get("num_train_timesteps")
    if isinstance(steps, (int, float)) and not steps <= MAX_STEPS:
        raise ModelError(
            f"{place} has num_train_timesteps {steps:.6g}, and at most {MAX_STEPS:,} are "
            "supported. Get the model from its source again."
        )
