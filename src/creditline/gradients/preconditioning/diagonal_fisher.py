"""Diagonal curvature: each parameter's mean squared gradient (as in elastic weight consolidation,
Kirkpatrick et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.errors import IndexMismatchError
from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch, join
from creditline.gradients.preconditioning.preconditioner import Preconditioner

HELD = 1 << 28
"""Most bytes of explicit gradients of single evaluations at once; one always fits."""
EIGENVALUES = "eigenvalues"


class DiagonalFisher(Preconditioner):
    """`g / sqrt(F + rho mean(F))` with `F = E[g^2]` over evaluations of training images.

    Applied to query and training image alike, their inner product is `g_q^T (F + damping)^-1 g_i`.
    Layers whose gradient is zero in all evaluations are left out: their scale is zero.

    Attributes:
        eigenvalues_: of the curvature, float32 of shape `(d_l,)` per layer, in the basis of
            `rotate`.
        scales_: inverse square roots of damped eigenvalues.
        dampings_: what was added to the eigenvalues of each layer.
    """

    eigenvalues_: list[Tensor]
    scales_: list[Tensor]
    dampings_: list[float]

    def add_up(
        self, number: int, engine: Engine, noised_images: Sequence[NoisedBatch]
    ) -> dict[str, Tensor]:
        sums: dict[str, Tensor] = {}
        places = {layer.name: i for i, layer in enumerate(self.layers)}
        for gradients in _single_gradients(engine, noised_images):
            for layer, gradient in zip(engine.layers, gradients, strict=True):
                squares = self.rotate(places[layer.name], gradient).square().sum(0)
                key = f"{layer.name}/{EIGENVALUES}"
                sums[key] = squares if key not in sums else sums[key].add_(squares)
        return sums

    def learn(self, number: int, sums: Mapping[str, Tensor], evaluations: int) -> None:
        self._use([sums[f"{layer.name}/{EIGENVALUES}"] / evaluations for layer in self.layers])

    def rotate(self, layer: int, gradients: Tensor) -> Tensor:
        """Return gradients of one layer, shape `(b, d_l)`, in the eigenbasis of the curvature."""
        return gradients

    def rotate_back(self, layer: int, rotated: Tensor) -> Tensor:
        """Return what `rotate` maps to `rotated`."""
        return rotated

    def state(self) -> dict[str, np.ndarray]:
        return {
            f"{layer.name}/{EIGENVALUES}": values.numpy()
            for layer, values in zip(self.layers, self.eigenvalues_, strict=True)
        }

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._use(
            [
                require_array(arrays, f"{layer.name}/{EIGENVALUES}", (layer.size,))
                for layer in self.layers
            ]
        )

    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        return [
            self.rotate(i, gradient) * scale.to(gradient.device)
            for i, (gradient, scale) in enumerate(zip(gradients, self.scales_, strict=True))
        ]

    def solve(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Multiply gradients by the inverse of the damped curvature, in their own basis.

        Args:
            gradients: one float32 tensor of shape `(b, d_l)` per layer.
        """
        return [
            self.rotate_back(i, self.rotate(i, gradient) * scale.to(gradient.device) ** 2)
            for i, (gradient, scale) in enumerate(zip(gradients, self.scales_, strict=True))
        ]

    def _use(self, eigenvalues: list[Tensor]) -> None:
        self.eigenvalues_ = [values.float() for values in eigenvalues]
        rho, is_global = self.settings.preconditioner_damping, self._is_global
        sizes = [values.numel() for values in eigenvalues]
        total = sum(float(values.double().sum()) for values in eigenvalues)
        self.scales_, self.dampings_ = [], []
        for values in self.eigenvalues_:
            mean = total / sum(sizes) if is_global else float(values.double().mean())
            damped = values + rho * mean
            self.dampings_.append(rho * mean)
            has_gradient = bool((values > 0).any())
            self.scales_.append(damped.rsqrt() if has_gradient else torch.zeros_like(values))

    @property
    def _is_global(self) -> bool:
        return self.settings.preconditioner_damping_unit == "model"


def _single_gradients(
    engine: Engine, noised_images: Sequence[NoisedBatch]
) -> Iterator[list[Tensor]]:
    """Yield the gradients of single evaluations, some at a time, `(b, d_l)` per layer."""
    evaluations = join(noised_images)
    size = max(1, HELD // (4 * sum(layer.size for layer in engine.layers)))
    for start in range(0, len(evaluations.t), size):
        part = evaluations[slice(start, start + size)]
        yield [layer[0] for layer in engine.gradients([part], "timesteps")]


def require_array(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> Tensor:
    """Return a stored array of the shape that it must have.

    Args:
        arrays: by name.
        name: of the array.
        shape: that it must have.

    Raises:
        IndexMismatchError: if it is missing, or not finite float32 of that shape.
    """
    array = arrays.get(name)
    if (
        array is None
        or array.shape != shape
        or array.dtype != np.float32
        or not np.isfinite(array).all()
    ):
        got = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise IndexMismatchError(
            f"The curvature holds {got} as {name!r}; finite float32 of shape {shape} is needed. It "
            "belongs to another model or was changed: build the index again with --overwrite."
        )
    return torch.from_numpy(array)
