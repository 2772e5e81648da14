"""Accumulators of gradients that come parameter by parameter, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from creditline.gradients.parameters import Layer
from creditline.gradients.projection.two_sided import (
    TwoSidedProjection,
    kept_sizes,
    parameter_sizes,
)


class GradientSink(Protocol):
    """Adds up gradients, parameter by parameter."""

    def add(self, name: str, first: int, values: Tensor) -> None:
        """Add values to one parameter of consecutive gradients, which come in order.

        Args:
            name: of the parameter.
            first: position of the first of these gradients.
            values: float32 of shape `(rows, size)`.
        """


class FeatureSink(GradientSink, Protocol):
    """A sink whose sums become features."""

    def features(self) -> Tensor:
        """Return the projected sums, float32 of shape `(n, k)`."""


class GradientAccumulator:
    """Sums of gradients in memory, each multiplied by its own factor.

    The first values of a place are written and later ones added, so that memory is not cleared
    first. Places without values are zero in the end.

    Args:
        layers: of the gradients.
        two_sided: projection that was applied to weights; None: explicit gradients.
        factors: one for each gradient, float32 of shape `(n,)`, on the device of the gradients.
    """

    def __init__(
        self, layers: Sequence[Layer], two_sided: TwoSidedProjection | None, factors: Tensor
    ) -> None:
        self._factors = factors[:, None]
        weights = None if two_sided is None else two_sided.weights
        sizes, n = kept_sizes(layers, weights), len(factors)
        self._layers = [torch.empty(n, size, device=factors.device) for size in sizes]
        self._places = dict(_places(layers, two_sided))
        self._filled = dict.fromkeys(self._places, 0)

    def add(self, name: str, first: int, values: Tensor) -> None:
        place, filled, stop = self._place(name), self._filled[name], first + len(values)
        if filled < first:
            place[filled:first] = 0
        middle = min(max(filled, first), stop)
        if first < middle:
            place[first:middle].addcmul_(values[: middle - first], self._factors[first:middle])
        if middle < stop:
            fresh = values[middle - first :]
            torch.mul(fresh, self._factors[middle:stop], out=place[middle:stop])
        self._filled[name] = max(filled, stop)

    def layers(self) -> list[Tensor]:
        """Return the sums, of shape `(n, d_l)` per layer."""
        for name, filled in self._filled.items():
            self._place(name)[filled:] = 0
        return self._layers

    def _place(self, name: str) -> Tensor:
        index, columns = self._places[name]
        return self._layers[index][:, columns]


class ProjectedAccumulator(GradientAccumulator):
    """Sums of gradients that are projected when they are complete.

    Args:
        layers, two_sided, factors: as of `GradientAccumulator`.
        project: maps one tensor of shape `(n, d_l)` per layer to features.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        two_sided: TwoSidedProjection | None,
        factors: Tensor,
        project: Callable[[Sequence[Tensor]], Tensor],
    ) -> None:
        super().__init__(layers, two_sided, factors)
        self._project = project

    def features(self) -> Tensor:
        return self._project(self.layers())


def _places(
    layers: Sequence[Layer], two_sided: TwoSidedProjection | None
) -> Iterator[tuple[str, tuple[int, slice]]]:
    """Yield where each parameter's values lie: layer and columns."""
    weights = None if two_sided is None else two_sided.weights
    for index, layer in enumerate(layers):
        start = 0
        for name, size in parameter_sizes(layer, weights):
            yield name, (index, slice(start, start + size))
            start += size
