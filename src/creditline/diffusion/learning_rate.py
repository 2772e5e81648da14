"""The learning rate over a run."""

from __future__ import annotations

import math

from creditline.diffusion.config import RunSettings


def learning_rate_at(config: RunSettings, step: int) -> float:
    """Linear warm-up from zero, then half a cosine to zero.

    Args:
        config: gives the peak, the warm-up's share and the number of steps.
        step: counted from 0; the rate is that of the update after it.
    """
    warm = math.ceil(config.warmup * config.steps)
    if step < warm:
        return config.learning_rate * step / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))
