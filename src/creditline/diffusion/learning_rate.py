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


def sum_of_rates(config: RunSettings, step: int) -> float:
    """Return the sum of the learning rates of the first `step` updates, in closed form.

    Args:
        config: as for `learning_rate_at`.
        step: number of updates, at most those of the training.
    """
    warm = math.ceil(config.warmup * config.steps)
    risen = min(step, warm)
    total = risen * (risen - 1) / 2 / warm if warm else 0.0
    fallen, length = step - risen, max(1, config.steps - warm)
    if fallen > 0:
        half = math.pi / (2 * length)
        cosines = math.sin(fallen * half) * math.cos((fallen - 1) * half) / math.sin(half)
        total += 0.5 * (fallen + cosines)
    return config.learning_rate * total
