"""Sums: gradients of some probes, gathered pass by pass in the place where they will lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from creditline.gradients.parameters import Layer
from creditline.gradients.projection.two_sided import TwoSidedProjection, kept_parts, kept_sizes


class GradientAccumulator:
    """What is kept of gradients, each multiplied by a factor of its own.

    What comes first to a place is written there and what comes later added, so that no room is
    cleared beforehand; what nothing came to is zero at the end.

    Args:
        layers: of the gradients.
        sides: what is kept of them; None: all.
        factors: one for each gradient, float32 of shape `(n,)`, on the device of the gradients.
    """

    def __init__(
        self, layers: Sequence[Layer], sides: TwoSidedProjection | None, factors: Tensor
    ) -> None:
        self._factors = factors[:, None]
        sizes, n = kept_sizes(layers, sides), len(factors)
        self._layers = [torch.empty(n, size, device=factors.device) for size in sizes]
        self._places = dict(_places(layers, sides))
        self._filled = dict.fromkeys(self._places, 0)

    def add(self, name: str, first: int, values: Tensor) -> None:
        part, filled, stop = self._part(name), self._filled[name], first + len(values)
        if filled < first:
            part[filled:first] = 0
        middle = min(max(filled, first), stop)
        if first < middle:
            part[first:middle].addcmul_(values[: middle - first], self._factors[first:middle])
        if middle < stop:
            fresh = values[middle - first :]
            torch.mul(fresh, self._factors[middle:stop], out=part[middle:stop])
        self._filled[name] = max(filled, stop)

    def layers(self) -> list[Tensor]:
        """The sums, of shape `(n, d_l)` per layer."""
        for name, filled in self._filled.items():
            self._part(name)[filled:] = 0
        return self._layers

    def _part(self, name: str) -> Tensor:
        index, place = self._places[name]
        return self._layers[index][:, place]


def _places(
    layers: Sequence[Layer], sides: TwoSidedProjection | None
) -> Iterator[tuple[str, tuple[int, slice]]]:
    """Where each parameter's numbers lie: layer and part of it."""
    for index, layer in enumerate(layers):
        start = 0
        for name, size in kept_parts(layer, sides):
            yield name, (index, slice(start, start + size))
            start += size
