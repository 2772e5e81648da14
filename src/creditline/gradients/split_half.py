"""The split-half noise estimate of a feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from creditline.gradients.noised_batch import NoisedBatch


def half_sizes(noised: Sequence[NoisedBatch], normalize: str) -> np.ndarray:
    """Count the independent terms that each half averages.

    Args:
        noised: evaluations of an image each.
        normalize: `"timestep"` if each timestep's gradient is one term.

    Returns:
        Counts, int64 of shape `(b, 2)`.
    """
    if normalize == "timestep":
        steps = np.array([len(one.t) // one.draws for one in noised])
        return np.stack([-(-steps // 2), steps // 2], axis=1)
    return np.array([[len(half) for half in one.halves()] for one in noised])


def mean_and_error(halves: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Combine the features of two halves to their mean and a sample of its error.

    With `a` and `b` evaluations in the halves and variance `v` of each evaluation, the variance of
    the mean is `v / (a + b)` and that of the difference `v (1/a + 1/b)`.

    Args:
        halves: features, shape `(b, 2, k)`.
        sizes: evaluations of either half, shape `(b, 2)`.

    Returns:
        Mean and error, float32 of shape `(b, 2, k)`.
    """
    first, second, total = sizes[:, :1], sizes[:, 1:], sizes.sum(1, keepdims=True)
    a, b = halves[:, 0], halves[:, 1]
    mean = (first * a + second * b) / total
    error = (a - b) * np.sqrt(first * second) / total
    return np.stack([mean, error], axis=1).astype(np.float32)
