"""Projected gradients without weight gradients: hooks at the layers, several images in one pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from creditline.diffusion.adapters import reused_modules
from creditline.diffusion.denoiser import Batch
from creditline.errors import ModelError
from creditline.gradients.autograd_engine import AutogradEngine
from creditline.gradients.engine import Engine, EvaluationGroup
from creditline.gradients.layer_gradients import LayerGradient, SavedTensors, find_layer_gradient
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import NoisedBatch, expand, join
from creditline.gradients.parameter_tables import ParameterTable, expand_tables, is_table
from creditline.gradients.parameters import Layer, enable_gradients
from creditline.gradients.projection.accumulator import GradientSink
from creditline.gradients.segments import EvaluationSegments

PASSES = 4
TOLERANCE = 1e-3
"""Relative to the gradient's norm; rounding leaves 1e-6."""

Pass = list[tuple[int, Tensor]]
"""Positions in the work, and the evaluations of each that one pass computes."""

Observer = Callable[[LayerGradient, SavedTensors, Tensor], None]
"""Receives a layer, what its forward pass saved, and the gradient of its output."""


class HookEngine(Engine):
    """Gradients from hooks on the modules.

    A pass holds as many images as fit into `microbatch` evaluations. The backward pass needs the
    gradients of the layers' outputs only, which cost as much as a forward pass. Weight gradients
    are contracted from these and the inputs at once. Autograd computes the parameters of modules
    without a `LayerGradient`, and those that several modules share; a pass then holds one gradient
    at a time.

    Attributes:
        layer_gradients: by module.
        tables: parameters that are copied for every evaluation.
        rest: layers of the parameters that are left to autograd.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layer_gradients, self.tables, self.rest = _assign_parameters(self)
        self._verified = False

    def batch(self, evaluations: int) -> int:
        return max(1, PASSES * self.microbatch // evaluations)

    def verify(self, images: Batch) -> None:
        """Compare with autograd before long work; calls after the first return at once.

        Args:
            images: the first of them is used.

        Raises:
            ModelError: if the network uses its weights in a way that no hook sees.
        """
        if self._verified:
            return
        plan = NoisePlan("random", timesteps=2)
        (noised, *_) = expand(self.denoiser, images, plan, "train")
        work, settings = [(noised, torch.arange(2))], (self.denoiser, self.layers, self.objective)
        exact = AutogradEngine(*settings, two_sided=self.two_sided).mean_gradients(work)
        precision, self.precision = self.precision, "fp32"  # rounding would hide a fault
        own = self.mean_gradients(work)
        self.precision = precision
        self._require_finite(work, exact)
        scale = torch.cat([layer.flatten() for layer in exact]).norm()
        for layer, a, b in zip(self.layers, own, exact, strict=True):
            error = (a - b).norm()
            if not error <= TOLERANCE * scale:
                raise ModelError(
                    f"Hooks compute another gradient than autograd in layer {layer.name!r} of "
                    f"{type(self.denoiser.module).__name__}: they differ by {float(error):.1e}, "
                    f"and the full gradient has norm {float(scale):.1e}. Use engine='autograd' "
                    "(--engine autograd)."
                )
        self._verified = True

    def accumulate(self, work: Sequence[EvaluationGroup], sink: GradientSink) -> None:
        with enable_gradients(self.denoiser.module, self.rest) as layers:
            rest = [parameter for layer in layers for parameter in layer]
            for one in self._passes(work, separate=bool(self.rest)):
                self._run_pass(work, one, sink, rest)

    def observe(self, work: Sequence[EvaluationGroup], observer: Observer) -> None:
        """Show the inputs and output gradients of all hooked layers to an observer, pass by pass.

        Parameters that are left to autograd are not seen. The objective is multiplied by `scale`.
        """
        with enable_gradients(self.denoiser.module, ()):
            for one in self._passes(work, separate=False):
                evaluations, segments = _join_pass(work, one)
                with torch.enable_grad(), self._hooked(segments, observer, lambda *_: None) as ends:
                    value = self.values(evaluations).sum() * self.scale
                    if value.requires_grad:
                        torch.autograd.grad(value, ends, allow_unused=True)

    def _passes(self, work: Sequence[EvaluationGroup], separate: bool) -> Iterator[Pass]:
        """Split the work into passes; a gradient of too many evaluations takes several.

        Args:
            work: what is computed.
            separate: leave each gradient a pass of its own.
        """
        current: Pass = []
        space = self.microbatch
        for i, (_, group) in enumerate(work):
            for part in group.chunk(math.ceil(len(group) / self.microbatch)):
                if current and (len(part) > space or separate):
                    yield current
                    current, space = [], self.microbatch
                current.append((i, part))
                space -= len(part)
        yield current

    def _run_pass(
        self,
        work: Sequence[EvaluationGroup],
        one: Pass,
        sink: GradientSink,
        rest: list[Tensor],
    ) -> None:
        """Add the gradients of one pass, summed over evaluations."""
        evaluations, segments = _join_pass(work, one)
        first = one[0][0]  # gradients of a pass are consecutive, each once

        def add(name: str, segment: int, values: Tensor) -> None:
            sink.add(name, first + segment, values)

        def contract(layer: LayerGradient, saved: SavedTensors, g: Tensor) -> None:
            for gradient in layer.contract(saved, g, segments):
                add(*gradient)

        with torch.enable_grad(), self._hooked(segments, contract, add) as leaves:
            value = self.values(evaluations).sum() * self.scale
            if not value.requires_grad:  # the output depends on no selected parameter
                return
            gradients = torch.autograd.grad(value, [*leaves, *rest], allow_unused=True)
        names = [name for layer in self.rest for name in layer.parameters]
        for name, gradient in zip(names, gradients[len(leaves) :], strict=True):
            if gradient is not None:
                add(name, 0, self.project_parameter(name, gradient.flatten())[None])

    @contextmanager
    def _hooked(
        self,
        segments: EvaluationSegments,
        observer: Observer,
        add: Callable[[str, int, Tensor], None],
    ) -> Iterator[list[Tensor]]:
        """Install hooks meanwhile; yields the tensors whose gradients the backward pass needs.

        An output that does not require a gradient becomes a leaf, where the backward pass ends.

        Args:
            segments: of the pass.
            observer: receives what layers see, without gradients.
            add: receives the gradients of tables.
        """
        leaves: list[Tensor] = []
        n = sum(segments.lengths)

        def make_hook(layer: LayerGradient) -> Any:
            def forward(_: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor | None:
                x: Tensor = next(iter((*args, *kwargs.values())))
                if len(output) % n:
                    raise ModelError(
                        f"Layer {layer.title} was called with a batch of {len(output)} for {n} "
                        "images, so its gradient cannot be split by image. Use "
                        "engine='autograd' (--engine autograd)."
                    )
                with torch.no_grad():
                    # Detached: the graph holds the hook below and would hold itself through it.
                    saved = tuple(part.detach() for part in layer.save(x, output))
                leaf = None
                if not output.requires_grad:
                    leaf = output = output.detach().requires_grad_()
                    leaves.append(output)
                output.register_hook(lambda g: backward(layer, saved, g))
                return leaf

            return forward

        def backward(layer: LayerGradient, saved: SavedTensors, g: Tensor) -> None:
            with torch.no_grad():
                observer(layer, saved, g)

        def table(table: ParameterTable, leaf: Tensor) -> None:
            leaves.append(leaf)
            leaf.register_hook(lambda g: add(table.name, 0, table_gradient(table, g)))

        def table_gradient(table: ParameterTable, g: Tensor) -> Tensor:
            return self.project_parameter(table.name, segments.sum(g.float().flatten(1)))

        handles = [
            module.register_forward_hook(make_hook(layer), with_kwargs=True)
            for module, layer in self.layer_gradients.items()
        ]
        try:
            with expand_tables(self.tables, n, table):
                yield leaves
        finally:
            for handle in handles:
                handle.remove()


def _join_pass(
    work: Sequence[EvaluationGroup], one: Pass
) -> tuple[NoisedBatch, EvaluationSegments]:
    """Return the evaluations of a pass, and which gradient each belongs to."""
    evaluations = join([work[i][0][part] for i, part in one])
    return evaluations, EvaluationSegments(tuple(len(part) for _, part in one))


def _assign_parameters(
    engine: HookEngine,
) -> tuple[dict[nn.Module, LayerGradient], tuple[ParameterTable, ...], tuple[Layer, ...]]:
    """Return the hooked modules, the tables, and the layers of what is left to autograd."""
    module = engine.denoiser.module
    parameters = dict(module.named_parameters())
    owners = Counter(id(p) for part in module.modules() for p in part._parameters.values())
    selected = {name for layer in engine.layers for name in layer.parameters}
    reused = reused_modules(module)
    layer_gradients, tables, assigned = {}, [], set()
    for prefix, part in module.named_modules():
        names = {own: f"{prefix}.{own}" if prefix else own for own in part._parameters}
        selection = {
            own: name
            for own, name in names.items()
            if name in selected and owners[id(parameters[name])] == 1
        }
        kind = find_layer_gradient(part)
        if part in reused:
            continue
        if selection and kind is not None:
            layer_gradients[part] = kind(part, selection, engine.two_sided)
            assigned |= set(selection.values())
            continue
        own_tables = [
            ParameterTable(part, name) for own, name in selection.items() if is_table(part, own)
        ]
        tables += own_tables
        assigned |= {table.name for table in own_tables}
    rest = []
    for layer in engine.layers:
        left = [
            (name, shape)
            for name, shape in zip(layer.parameters, layer.shapes, strict=True)
            if name not in assigned
        ]
        if left:
            rest.append(Layer(layer.name, *map(tuple, zip(*left, strict=True))))
    return layer_gradients, tuple(tables), tuple(rest)
