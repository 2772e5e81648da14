"""EK-FAC: Kronecker-factored eigenbases with corrected eigenvalues (George et al., NeurIPS 2018;
for influence functions Grosse et al., 2023; on diffusion models Mlodozeniec et al., ICLR 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.layer_gradients import LayerGradient, SavedTensors
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.diagonal_fisher import DiagonalFisher, require_array
from creditline.gradients.preconditioning.kronecker import (
    KroneckerShape,
    has_kronecker_form,
    kronecker_inputs,
)
from creditline.gradients.preconditioning.settings import Preconditioning

COVARIANCES = 0
"""The pass that eigenbases are computed from."""
INPUT, OUTPUT, COUNT = "input", "output", "count"


class EKFAC(DiagonalFisher):
    """Whitened gradients `(Q_S^T G Q_A) / sqrt(Lambda + rho mean(Lambda))` of each layer.

    `Q_A` and `Q_S` are eigenvectors of the covariances of a layer's inputs and output gradients,
    and `Lambda = E[(Q_S^T G Q_A)^2]` over single evaluations. Layers without this form (norms,
    embeddings, parameters of no module) have the diagonal of the curvature.

    Attributes:
        bases_: left and right eigenvectors of each layer, float32 `(o, o)` and `(i, i)`; None where
            the curvature is diagonal.
    """

    passes: ClassVar[int] = 2
    needs_hooks: ClassVar[bool] = True

    def __init__(self, settings: Preconditioning, layers: Sequence[Layer]) -> None:
        super().__init__(settings, layers)
        self.bases_: list[tuple[Tensor, Tensor] | None] = [None] * len(self.layers)
        self._shapes = [KroneckerShape.of(layer) for layer in self.layers]
        self._on_device: dict[tuple[int, torch.device], tuple[Tensor, Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out copies on devices."""
        return {**self.__dict__, "_on_device": {}}

    def add_up(
        self, number: int, engine: Engine, noised_images: Sequence[NoisedBatch]
    ) -> dict[str, Tensor]:
        if number != COVARIANCES:
            return super().add_up(number, engine, noised_images)
        if not isinstance(engine, HookEngine):
            raise TypeError(f"covariances need a HookEngine; got {type(engine).__name__}")
        sums: dict[str, Tensor] = {}

        def add(key: str, value: Tensor) -> None:
            sums[key] = value if key not in sums else sums[key].add_(value)

        known = {
            layer.name
            for layer, shape in zip(self.layers, self._shapes, strict=True)
            if shape is not None
        }

        def observe(layer: LayerGradient, saved: SavedTensors, g: Tensor) -> None:
            if layer.title not in known or not has_kronecker_form(layer):
                return
            for a, s in kronecker_inputs(layer, saved, g):
                inputs, outputs = self._share(a, s / engine.scale)
                count = torch.tensor(float(inputs[..., 0].numel()), dtype=torch.float64)
                add(f"{layer.title}/{COUNT}", count)
                add(f"{layer.title}/{INPUT}", _second_moment(inputs))
                groups = [_second_moment(own) for own in outputs.unbind(1)]
                add(f"{layer.title}/{OUTPUT}", torch.block_diag(*groups))

        work = [(noised, torch.arange(len(noised.t))) for noised in noised_images]
        engine.observe(work, observe)
        return sums

    def learn(self, number: int, sums: Mapping[str, Tensor], evaluations: int) -> None:
        if number != COVARIANCES:
            super().learn(number, sums, evaluations)
            return
        for i, layer in enumerate(self.layers):
            if f"{layer.name}/{INPUT}" not in sums:
                continue
            inputs = sums[f"{layer.name}/{INPUT}"] / float(sums[f"{layer.name}/{COUNT}"])
            outputs = sums[f"{layer.name}/{OUTPUT}"] / evaluations
            self.learn_basis(i, outputs, inputs)

    def learn_basis(self, layer: int, outputs: Tensor, inputs: Tensor) -> None:
        """Learn the eigenbasis of one layer.

        Args:
            layer: position of the layer.
            outputs: covariance of its output gradients, summed over positions, `(o, o)`.
            inputs: mean covariance of its inputs, `(i, i)`.
        """
        self.set_basis(layer, decompose(outputs)[1], decompose(inputs)[1])

    def set_basis(self, layer: int, left: Tensor, right: Tensor) -> None:
        """Use eigenvectors of a layer, those of outputs and of inputs, in columns."""
        self.bases_[layer] = left, right
        self._on_device.clear()

    def rotate(self, layer: int, gradients: Tensor) -> Tensor:
        shape, bases = self._shapes[layer], self._basis(layer, gradients.device)
        if shape is None or bases is None:
            return gradients
        left, right = bases
        return (left.mT @ shape.to_matrix(gradients) @ right).flatten(1)

    def rotate_back(self, layer: int, rotated: Tensor) -> Tensor:
        """Invert `rotate`."""
        basis, shape = self._basis(layer, rotated.device), self._shapes[layer]
        if basis is None or shape is None:
            return super().rotate_back(layer, rotated)
        left, right = basis
        matrix = rotated.unflatten(1, (shape.rows, shape.columns))
        return shape.to_flat(left @ matrix @ right.mT)

    def state(self) -> dict[str, np.ndarray]:
        arrays = super().state()
        for layer, bases in zip(self.layers, self.bases_, strict=True):
            if bases is not None:
                left, right = bases
                arrays |= {
                    f"{layer.name}/{OUTPUT}": left.numpy(),
                    f"{layer.name}/{INPUT}": right.numpy(),
                }
        return arrays

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().load_state(arrays)
        for i, (layer, shape) in enumerate(zip(self.layers, self._shapes, strict=True)):
            sides = {f"{layer.name}/{side}" for side in (OUTPUT, INPUT)}
            if shape is not None and sides & arrays.keys():
                left = require_array(arrays, f"{layer.name}/{OUTPUT}", (shape.rows, shape.rows))
                columns = shape.columns, shape.columns
                self.set_basis(i, left, require_array(arrays, f"{layer.name}/{INPUT}", columns))

    def _share(self, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Treat positions as separate inputs, or as their mean (Eschenhagen et al., 2023)."""
        if self.settings.preconditioner_sharing == "expand":
            return a, s
        return a.mean(2, keepdim=True), s.sum(2, keepdim=True)

    def _basis(self, layer: int, device: torch.device) -> tuple[Tensor, Tensor] | None:
        bases = self.bases_[layer]
        if bases is None:
            return None
        if (layer, device) not in self._on_device:
            self._on_device[layer, device] = bases[0].to(device), bases[1].to(device)
        return self._on_device[layer, device]


def _second_moment(rows: Tensor) -> Tensor:
    """Sum `x x^T` over all but the last dimension."""
    flat = rows.flatten(0, -2)
    return flat.mT @ flat


def decompose(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues, ascending, and eigenvectors in columns, of a symmetric matrix; float32.

    They are computed in float64 on the CPU, where they do not depend on the device.
    """
    values, vectors = torch.linalg.eigh(matrix.double().cpu())
    return values.clamp(min=0).float(), vectors.float().contiguous()
