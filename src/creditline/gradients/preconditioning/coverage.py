"""How much of a network a curvature covers, and the memory and work of it, from shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.kronecker import KroneckerShape

DIAGONAL = "diagonal-fisher"


@dataclass(frozen=True)
class CurvatureCoverage:
    """What the curvature of some layers consists of.

    Attributes:
        kronecker: parameters whose curvature is a Kronecker product in its eigenbases.
        diagonal: parameters with a diagonal curvature.
        diagonal_layers: names of their modules.
        bytes: of all factors and eigenvalues, in float32.
        rotation: floating-point operations of the rotation of one gradient into the eigenbases.
    """

    kronecker: int
    diagonal: int
    diagonal_layers: tuple[str, ...]
    bytes: int
    rotation: float

    @property
    def share(self) -> float:
        """Share of the parameters whose curvature is a Kronecker product."""
        return self.kronecker / (self.kronecker + self.diagonal)

    @classmethod
    def of(
        cls, module: nn.Module, layers: Sequence[Layer], preconditioner: str
    ) -> CurvatureCoverage:
        """Count the parameters of some layers.

        Args:
            module: the network.
            layers: the selected parameters, by module.
            preconditioner: name of the curvature's estimate.
        """
        modules = dict(module.named_modules())
        kronecker, diagonal, number, rotation, rest = 0, 0, 0, 0.0, []
        for layer in layers:
            shape = KroneckerShape.of(layer)
            number += layer.size
            if preconditioner == DIAGONAL or shape is None or not _is_linear(modules[layer.name]):
                diagonal += layer.size
                rest.append(layer.name)
                continue
            kronecker += layer.size
            rows, columns = shape.rows, shape.columns
            number += rows * rows + columns * columns
            rotation += 2.0 * rows * columns * (rows + columns)
        return cls(kronecker, diagonal, tuple(rest), 4 * number, rotation)


def _is_linear(module: Any) -> bool:
    """Whether a module's gradient is a sum of outer products of inputs and output gradients."""
    return isinstance(module, (nn.Linear, _ConvNd)) and not isinstance(module, _ConvTransposeNd)
