"""Weights of layers, learned from scores alone: Li, Le, Xu and Salzmann (ICLR 2026).

    maximize   mean_q mean_{i in top(q)} s(q, i) / rms_i s(q, .)  -  penalty * mean_l w_l^2
    s(q, i) = sum_l w_l s_l(q, i),   w >= 0 with mean 1

A query's strongest scores are taken for signal and the root mean square of all of them for noise:
layers in which few images stand out gain weight. The paper divides by the norm over images and
penalizes the norm of weights that sum to 1. Both are in other units here, in which the numbers of
images and layers do not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEPS, RATE = 300, 0.05
"""Steps of Adam, and their size in logarithms of weights."""
DECAYS, SMALL = (0.9, 0.999), 1e-12


@dataclass(frozen=True)
class WeightObjective:
    """What the weights minimize.

    Attributes:
        scores: of each layer, float64 of shape `(m, L, n)`; zero where they do not count.
        counts: which scores count, shape `(m, n)`.
        products: `S S^T / n` of each query's scores, shape `(m, L, L)`.
        top: number of images taken for signal.
        penalty: of the mean square of the weights.
    """

    scores: np.ndarray
    counts: np.ndarray
    products: np.ndarray
    top: int
    penalty: float

    @classmethod
    def of_scores(
        cls, scores: np.ndarray, counts: np.ndarray, top: int, penalty: float
    ) -> WeightObjective:
        """Make the objective of some queries.

        Those whose scores are all zero are left out.

        Args:
            scores: of each layer, shape `(m, L, n)`.
            counts: which scores count, shape `(m, n)`.
            top, penalty: see the attributes.
        """
        scores = scores * counts[:, None]
        largest = np.abs(scores).max(axis=(1, 2))
        has_scores = largest > 0
        # The scale of a query's scores has no effect; this keeps it away from `SMALL`.
        scores = scores[has_scores] / largest[has_scores, None, None]
        counts = counts[has_scores]
        products = scores @ scores.transpose(0, 2, 1) / counts.sum(1)[:, None, None]
        most = int(counts.sum(1).min()) if len(counts) else 0
        return cls(scores, counts, products, min(top, most), penalty)

    def value(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute the objective, and its gradient with respect to the weights.

        Args:
            weights: shape `(L,)`.
        """
        spread = self.products @ weights
        power = spread @ weights
        rms = np.sqrt(np.maximum(power, SMALL))
        total = weights @ self.scores
        ranked = np.where(self.counts, -total, np.inf)
        strongest = np.argpartition(ranked, self.top - 1, axis=1)[:, : self.top]
        signal = np.take_along_axis(total, strongest, axis=1).mean(1)
        of_layers = np.take_along_axis(self.scores, strongest[:, None], axis=2).mean(2)
        slope = of_layers / rms[:, None] - (signal / rms**3)[:, None] * spread
        value = -(signal / rms).mean() + self.penalty * (weights**2).mean()
        return float(value), -slope.mean(0) + 2 * self.penalty * weights / len(weights)


def learn_weights(objective: WeightObjective) -> np.ndarray:
    """Minimize an objective from equal weights by Adam.

    Returns:
        Weights, float64 of shape `(L,)`, positive and 1 on average: a softmax times their number.
    """
    layers = objective.scores.shape[1]
    if layers == 1 or not len(objective.scores):
        return np.ones(layers)
    logits, first, second = np.zeros((3, layers))
    for step in range(1, STEPS + 1):
        weights = softmax(logits)
        _, slope = objective.value(weights)
        slope = weights * (slope - (weights * slope).mean())
        first = DECAYS[0] * first + (1 - DECAYS[0]) * slope
        second = DECAYS[1] * second + (1 - DECAYS[1]) * slope**2
        mean, square = first / (1 - DECAYS[0] ** step), second / (1 - DECAYS[1] ** step)
        logits = logits - RATE * mean / (np.sqrt(square) + SMALL)
    return softmax(logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return positive weights with mean 1."""
    weights = np.exp(logits - logits.max())
    return weights / weights.mean()
