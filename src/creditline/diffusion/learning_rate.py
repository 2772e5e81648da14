"""The learning rate schedule."""

from __future__ import annotations

import math

from creditline.diffusion.config import RunSettings


def learning_rate_at(config: RunSettings, step: int) -> float:
    """Return the learning rate of a step: linear warm-up from zero, then half a cosine to zero.

    Args:
        config: peak rate, share of the warm-up and number of steps.
        step: number of updates before this one.
    """
    warm = math.ceil(config.warmup * config.steps)
    if step < warm:
        return config.learning_rate * step / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
