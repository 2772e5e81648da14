"""Spectral filters of unrolled training: SOURCE (Bae et al., NeurIPS 2024).

Gradient descent with rate `eta` for `K` steps under the curvature `H` leaves `exp(-eta K H)` of a
deviation, and turns a constant push `g` into `(1 - exp(-eta K H)) H^-1 g`. In the eigenbasis of the
curvature both act on each number by itself. The horizon `eta K` replaces the damping of influence
functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from creditline.gradients.preconditioning.diagonal_fisher import DiagonalFisher


def response(eigenvalues: Tensor, horizon: float) -> Tensor:
    """`(1 - exp(-h s)) / s` of each eigenvalue `s`; the horizon `h` where that is zero."""
    exponent = eigenvalues.double() * horizon
    return torch.where(
        exponent > 0, -torch.expm1(-exponent) / exponent.clamp(min=1e-300) * horizon, horizon
    )


def decay(eigenvalues: Tensor, horizon: float) -> Tensor:
    """`exp(-h s)` of each eigenvalue `s`."""
    return torch.exp(-eigenvalues.double() * horizon)


def adam_horizons(
    curvature: DiagonalFisher, rate_sum: float, batch_size: int, loss: float, outputs: int
) -> list[float]:
    """Return the horizon of each layer of a training with Adam.

    Adam divides a layer's gradient by its root mean square, taken here over all of the layer. That
    of a batch of independent gradients is `sqrt(E[g^2] / batch_size)`. The mean eigenvalue of the
    layer is `E[g^2]` for outputs sampled around the network's own; the residuals of a mean squared
    error `loss` make it `2 loss / outputs` times as large.

    Args:
        curvature: fitted at the checkpoint.
        rate_sum: sum of the learning rates of the steps.
        batch_size: images of a step.
        loss: mean training loss at the checkpoint.
        outputs: elements of an output of the network.
    """
    is_empirical = curvature.settings.preconditioner_targets == "data"
    factor = (1.0 if is_empirical else 2 * loss / outputs) / batch_size
    means = [float(values.double().mean()) for values in curvature.eigenvalues_]
    return [rate_sum / math.sqrt(mean * factor) if mean > 0 else 0.0 for mean in means]


class Segment:
    """The part of a training run that a checkpoint stands for.

    Args:
        curvature: fitted at the checkpoint.
        horizons: learning rate times number of steps of each layer, in units of inverse curvature.
            A layer without gradient has horizon zero.
    """

    def __init__(self, curvature: DiagonalFisher, horizons: Sequence[float]) -> None:
        self.curvature = curvature
        pairs = list(zip(curvature.eigenvalues_, horizons, strict=True))
        self.roots = [response(values, h).sqrt().float() for values, h in pairs]
        self.decays = [decay(values, h).float() for values, h in pairs]

    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Rotate gradients of each layer, `(b, d_l)`, and multiply by the root of the response.

        Inner products of the results are `g^T (1 - exp(-h H)) H^-1 g'`.
        """
        return [
            self.curvature.rotate(i, gradient) * root.to(gradient.device)
            for i, (gradient, root) in enumerate(zip(gradients, self.roots, strict=True))
        ]

    def decline(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Multiply gradients of each layer, `(b, d_l)`, by `exp(-h H)`."""
        return [
            self.curvature.rotate_back(
                i, self.curvature.rotate(i, gradient) * factor.to(gradient.device)
            )
            for i, (gradient, factor) in enumerate(zip(gradients, self.decays, strict=True))
        ]


class UnrolledQuery:
    """Carries a query's gradient back from the end of training to a segment, and filters it.

    Args:
        segment: where training images pushed.
        later: the segments after it, in order.
    """

    def __init__(self, segment: Segment, later: Sequence[Segment]) -> None:
        self.segment, self.later = segment, tuple(later)

    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Filter gradients at the final model, one tensor of shape `(b, d_l)` per layer."""
        for segment in reversed(self.later):
            gradients = segment.decline(gradients)
        return self.segment.apply(gradients)
