"""Projected gradients without weight gradients: taps at the layers, several images in one pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from creditline.diffusion.denoiser import Batch
from creditline.errors import ModelError
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.engine import Engine, OperationCount
from creditline.gradients.layer_gradients import LayerGradient, TopScoreSplit, tap_of
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand, join
from creditline.gradients.parameter_tables import ParameterTable, expand_tables, is_table
from creditline.gradients.parameters import Layer, enable_gradients
from creditline.gradients.projection.base import GradientSink
from creditline.gradients.segments import EvaluationSegments

PASSES = 4
TOLERANCE = 1e-3
"""Of the gradient's norm; rounding leaves 1e-6."""

Chunk = list[tuple[int, Tensor]]
"""One pass: positions in the work, and the evaluations that are taken of each."""


class HookEngine(Engine):
    """Gradients from hooks on the modules.

    A pass holds as many images as fit into `microbatch` evaluations. Going back it needs the
    gradients of the layers' outputs only, which cost as much as a forward pass; what is wanted of
    the weights is contracted from these and the inputs on the spot. Parameters of modules that no
    tap knows, and parameters that several modules share, are taken from autograd: then a pass holds
    one gradient at a time.

    Attributes:
        taps: by module.
        tables: parameters that are copied for every evaluation.
        rest: layers of the parameters that are left to autograd.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.taps, self.tables, self.rest = _tapped(self)
        self._verified = False

    def batch(self, evaluations: int) -> int:
        return max(1, PASSES * self.microbatch // evaluations)

    def verify(self, images: Batch) -> None:
        """Compare with autograd before long work; the first call does, further ones return.

        Args:
            images: the first of them is looked at.

        Raises:
            ModelError: if the network does something with its weights that no hook sees.
        """
        if self._verified:
            return
        plan = NoisePlan("random", timesteps=2)
        (probe, *_) = expand(self.denoiser, images, plan, "train")
        work, settings = [(probe, torch.arange(2))], (self.denoiser, self.layers, self.objective)
        exact = AutogradEngine(*settings, sides=self.sides).means(work)
        precision, self.precision = self.precision, "fp32"  # whose rounding would hide a fault
        mine = self.means(work)
        self.precision = precision
        self._require_finite(work, exact)
        scale = torch.cat([layer.flatten() for layer in exact]).norm()
        for layer, a, b in zip(self.layers, mine, exact, strict=True):
            error = (a - b).norm()
            if not error <= TOLERANCE * scale:
                raise ModelError(
                    f"Hooks find another gradient than autograd in layer {layer.name!r} of "
                    f"{type(self.denoiser.module).__name__}: they differ by {float(error):.1e}, "
                    f"and the whole has norm {float(scale):.1e}. Use engine='autograd' (--engine "
                    "autograd)."
                )
        self._verified = True

    def gather(self, work: Sequence[OperationCount], gathering: GradientSink) -> None:
        with enable_gradients(self.denoiser.module, self.rest) as parameters:
            rest = [p for layer in parameters for p in layer]
            for chunk in self._passes(work):
                self._pass(work, chunk, gathering, rest)

    def _passes(self, work: Sequence[OperationCount]) -> Iterator[Chunk]:
        """The work in passes; a gradient of more evaluations than fit takes several."""
        chunk: Chunk = []
        room = self.microbatch
        for i, (_, group) in enumerate(work):
            for part in group.chunk(math.ceil(len(group) / self.microbatch)):
                if chunk and (len(part) > room or self.rest):
                    yield chunk
                    chunk, room = [], self.microbatch
                chunk.append((i, part))
                room -= len(part)
        yield chunk

    def _pass(
        self,
        work: Sequence[OperationCount],
        chunk: Chunk,
        gathering: GradientSink,
        rest: list[Tensor],
    ) -> None:
        """Add the gradients of one pass, summed over evaluations."""
        evaluations = join([work[i][0][part] for i, part in chunk])
        segments = EvaluationSegments(tuple(len(part) for _, part in chunk))
        first = chunk[0][0]  # of neighbors, each of them once

        def add(name: str, segment: int, values: Tensor) -> None:
            gathering.add(name, first + segment, values)

        with torch.enable_grad(), self._hooked(segments, add) as leaves:
            value = self.values(evaluations).sum() * self.scale
            if not value.requires_grad:  # nothing that was selected has a part in the output
                return
            gradients = torch.autograd.grad(value, [*leaves, *rest], allow_unused=True)
        names = [name for layer in self.rest for name in layer.parameters]
        for name, gradient in zip(names, gradients[len(leaves) :], strict=True):
            if gradient is not None:
                add(name, 0, self.keep(name, gradient.flatten())[None])

    @contextmanager
    def _hooked(
        self, segments: EvaluationSegments, add: Callable[[str, int, Tensor], None]
    ) -> Iterator[list[Tensor]]:
        """Hooks in place; yields the outputs from which gradients have to be asked.

        An output that nothing before it makes differentiable becomes a leaf: the pass back then
        ends there.
        """
        leaves: list[Tensor] = []
        n = sum(segments.lengths)

        def hook(tap: LayerGradient) -> Any:
            def forward(_: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor | None:
                x: Tensor = next(iter((*args, *kwargs.values())))
                if len(output) % n:
                    raise ModelError(
                        f"Layer {tap.title} was called with a batch of {len(output)} for {n} "
                        "images, so its gradient cannot be told apart by image. Use "
                        "engine='autograd' (--engine autograd)."
                    )
                with torch.no_grad():
                    # Detached: the graph holds the hook below, and would hold itself by it.
                    kept = tuple(part.detach() for part in tap.keep(x, output))
                leaf = None
                if not output.requires_grad:
                    leaf = output = output.detach().requires_grad_()
                    leaves.append(output)
                output.register_hook(lambda g: backward(tap, kept, g))
                return leaf

            return forward

        def backward(tap: LayerGradient, kept: TopScoreSplit, g: Tensor) -> None:
            with torch.no_grad():
                for found in tap.contract(kept, g, segments):
                    add(*found)

        def table(table: ParameterTable, leaf: Tensor) -> None:
            leaves.append(leaf)
            leaf.register_hook(lambda g: add(table.name, 0, total(table, g)))

        def total(table: ParameterTable, g: Tensor) -> Tensor:
            return self.keep(table.name, segments.sum(g.float().flatten(1)))

        handles = [
            module.register_forward_hook(hook(tap), with_kwargs=True)
            for module, tap in self.taps.items()
        ]
        try:
            with expand_tables(self.tables, n, table):
                yield leaves
        finally:
            for handle in handles:
                handle.remove()


def _tapped(
    engine: HookEngine,
) -> tuple[dict[nn.Module, LayerGradient], tuple[ParameterTable, ...], tuple[Layer, ...]]:
    """A tap for each module that has one, the tables, and the layers of what is left."""
    module = engine.denoiser.module
    named = dict(module.named_parameters())
    owners = Counter(id(p) for part in module.modules() for p in part._parameters.values())
    selected = {name for layer in engine.layers for name in layer.parameters}
    taps, tables, tapped = {}, [], set()
    for prefix, part in module.named_modules():
        names = {own: f"{prefix}.{own}" if prefix else own for own in part._parameters}
        wanted = {
            own: name
            for own, name in names.items()
            if name in selected and owners[id(named[name])] == 1
        }
        kind = tap_of(part)
        if wanted and kind is not None:
            taps[part] = kind(part, wanted, engine.sides)
            tapped |= set(wanted.values())
            continue
        found = [ParameterTable(part, name) for own, name in wanted.items() if is_table(part, own)]
        tables += found
        tapped |= {table.name for table in found}
    rest = []
    for layer in engine.layers:
        left = [
            (name, shape)
            for name, shape in zip(layer.parameters, layer.shapes, strict=True)
            if name not in tapped
        ]
        if left:
            rest.append(Layer(layer.name, *map(tuple, zip(*left, strict=True))))
    return taps, tuple(tables), tuple(rest)
