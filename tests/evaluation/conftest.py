"""A world in which every image has a linear effect and every training its own noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class World:
    """Effects are scores in our sign: an image with a positive one lowers the loss.

    Attributes:
        effects: shape `(m, n)`.
        masks: shape `(M, n)`.
        losses: shape `(M, S, m)`.
    """

    effects: np.ndarray
    masks: np.ndarray
    losses: np.ndarray


@pytest.fixture
def world():
    """Makes a world: queries m, images n, subsets M, seeds S, noise in units of the signal."""

    def make(m: int = 6, n: int = 30, M: int = 64, S: int = 2, noise: float = 0.0, seed: int = 0):
        rng = np.random.default_rng(seed)
        effects = rng.normal(size=(m, n))
        masks = np.zeros((M, n), bool)
        for row in masks:
            row[rng.permutation(n)[: n // 2]] = True
        signal = masks @ effects.T
        scale = signal.std(0) * noise
        noises = rng.normal(size=(M, S, m)) * scale
        return World(effects, masks, 5.0 - signal[:, None, :] + noises)

    return make
