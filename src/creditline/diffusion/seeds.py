"""Seeds of a training run."""

from __future__ import annotations

import numpy as np

from creditline.diffusion.config import RunSettings
from creditline.fingerprint import key64


def seed_for(config: RunSettings, *purpose: object) -> int:
    """Return a seed for torch from a hash, so that nearby steps and run seeds are independent."""
    return int(key64(*purpose, config.seed)[0] >> np.uint64(1))
