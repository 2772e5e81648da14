"""Products with the Gauss-Newton matrix of a network, without forming it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch, join


class GaussNewton:
    """`v -> mean over evaluations of 2/D J^T W J v` for the mean squared error of `D` outputs.

    `J` is the derivative of an evaluation's output and `W` its weights. A product is two
    derivatives: `J v` as the derivative of `J^T y` in `y`, then `J^T (J v)`.

    Args:
        engine: holds the network, the layers and the size of a pass.
        noised_images: evaluations.
    """

    def __init__(self, engine: Engine, noised_images: Sequence[NoisedBatch]) -> None:
        self.engine, self.evaluations = engine, join(noised_images)
        named = dict(engine.denoiser.module.named_parameters())
        self.parameters = [named[name] for layer in engine.layers for name in layer.parameters]
        self.shapes = [shape for layer in engine.layers for shape in layer.shapes]

    def product(self, vector: Sequence[Tensor]) -> list[Tensor]:
        """Multiply one vector by the matrix.

        Args:
            vector: float32 of shape `(d_l,)` per layer.

        Returns:
            Tensors of the same shapes.
        """
        parts = self._split(vector)
        sums = [torch.zeros_like(p) for p in self.parameters]
        count, size = len(self.evaluations.t), max(1, self.engine.microbatch)
        for start in range(0, count, size):
            for total, part in zip(
                sums, self._pass(self.evaluations[slice(start, start + size)], parts), strict=True
            ):
                total += part / count
        return self._join(sums)

    def _pass(self, evaluations: NoisedBatch, vector: Sequence[Tensor]) -> list[Tensor]:
        """Sum the products of some evaluations."""
        engine = self.engine
        x = evaluations.to(engine.denoiser.device, engine.denoiser.dtype)
        x_t = engine.denoiser.process.add_noise(x.x0, x.noise, x.t)
        # The other kernels of attention have no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            output = engine.denoiser.predict(x_t, x.t, x.condition).float()
            y = torch.zeros_like(output, requires_grad=True)
            pulled = torch.autograd.grad(
                output, self.parameters, y, create_graph=True, materialize_grads=True
            )
            (pushed,) = torch.autograd.grad(pulled, y, list(vector), retain_graph=True)
            weight = 2 / math.prod(output.shape[1:])
            pushed = pushed * weight if x.weight is None else pushed * weight * x.weight
            return list(
                torch.autograd.grad(
                    output, self.parameters, pushed.detach(), materialize_grads=True
                )
            )

    def _split(self, vector: Sequence[Tensor]) -> list[Tensor]:
        parts: list[Tensor] = []
        for layer, flat in zip(self.engine.layers, vector, strict=True):
            sizes = [math.prod(shape) for shape in layer.shapes]
            pieces = flat.to(self.parameters[0]).split(sizes)
            parts += [p.view(shape) for p, shape in zip(pieces, layer.shapes, strict=True)]
        return parts

    def _join(self, parts: Sequence[Tensor]) -> list[Tensor]:
        joined, start = [], 0
        for layer in self.engine.layers:
            stop = start + len(layer.shapes)
            joined.append(torch.cat([part.flatten() for part in parts[start:stop]]).float())
            start = stop
        return joined
