"""Estimates of parameters, memory and time of an attribution from the network's shapes alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from creditline import methods
from creditline.doctor.disk import table_schema
from creditline.doctor.findings import lines
from creditline.doctor.meta_model import MetaModel, build_meta_model
from creditline.doctor.rate import MachineRate, measure_rate
from creditline.errors import SettingsError
from creditline.explain import explained
from creditline.features.gradients import GradientExtractor
from creditline.gradients.engine import Engine
from creditline.gradients.engine_choice import choose_engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.pass_size import measure_pass
from creditline.gradients.preconditioning.coverage import CurvatureCoverage
from creditline.gradients.spec import FeatureSpec
from creditline.methods.attributor import Attributor
from creditline.settings import override, require
from creditline.units import bytes_of, duration, size

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution, aten._convolution, aten.convolution_backward)


@dataclass(frozen=True)
class OperationCount:
    """Operations and memory traffic of one evaluation of the network.

    Attributes:
        products, convolutions: floating-point operations; a multiply-add counts as two.
        moved: bytes read and written by all other operations.
    """

    products: float
    convolutions: float
    moved: float

    def seconds(self, rate: MachineRate) -> float:
        """Estimate the seconds on a machine."""
        return rate.seconds(self.products, self.convolutions, self.moved)

    def __add__(self, other: OperationCount) -> OperationCount:
        return OperationCount(
            self.products + other.products,
            self.convolutions + other.convolutions,
            self.moved + other.moved,
        )

    @property
    def operations(self) -> float:
        """All floating-point operations."""
        return self.products + self.convolutions


@dataclass(frozen=True)
class CostEstimate:
    """Cost of attribution, from the shapes of the network.

    Attributes:
        network: class of the network.
        sample_shape: shape of the noised sample.
        parameters, adapters, adapted: parameters of the network and of its adapters, and number of
            layers with an adapter.
        selected: parameters whose gradient is computed.
        forward: operations of a forward pass of one evaluation.
        gradient: operations of its projected gradient: forward pass, backward pass, contraction.
        weight_bytes: all weights in float32.
        pass_bytes: memory of a pass without weights: its constant part, and that of an evaluation.
        evaluations: evaluations per image.
        dim: feature dimension.
        image_bytes: an image's feature in the index, with its error if it has one.
        curvature: of the features that are preconditioned; None: none are.
        rate: speed of the machine.
        measured: whether it was measured on this machine.
    """

    network: str
    sample_shape: tuple[int, ...]
    parameters: int
    adapters: int
    adapted: int
    selected: int
    forward: OperationCount
    gradient: OperationCount
    weight_bytes: float
    pass_bytes: tuple[float, float]
    evaluations: int
    dim: int
    image_bytes: float
    curvature: CurvatureCoverage | None
    rate: MachineRate
    measured: bool

    @property
    def seconds(self) -> float:
        """Seconds per evaluation (an image at a timestep)."""
        return self.gradient.seconds(self.rate)

    @property
    def memory(self) -> float:
        """Bytes of the weights and a pass of one evaluation."""
        return self.weight_bytes + sum(self.pass_bytes)

    def __str__(self) -> str:
        rest, each = self.pass_bytes
        adapters = f"; adapters: {self.adapters:,} in {self.adapted} layers" if self.adapted else ""
        where = "one thread here" if self.measured else "the device named"
        ratio = self.gradient.operations / self.forward.operations
        rows = [
            (
                "parameters",
                f"{self.parameters:,}{adapters}; gradients of {self.selected:,}",
            ),
            (
                "work",
                f"{self.forward.operations / 1e9:,.4g} GFLOP forward, {ratio:.3g} times that "
                f"with the gradient, per evaluation (an image at a timestep)",
            ),
            (
                "time",
                f"about {duration(self.seconds)} per evaluation at {where} "
                f"({self.rate.product / 1e9:,.3g} GFLOP/s in products, "
                f"{self.rate.convolution / 1e9:,.3g} in convolutions); "
                f"{duration(self.evaluations * self.seconds)} per image of "
                f"{self.evaluations} evaluations",
            ),
            (
                "memory",
                f"{size(self.memory)}: weights {size(self.weight_bytes)}, a pass of one evaluation "
                f"{size(rest + each)}, every further one {size(each)}",
            ),
            ("features", f"{size(self.image_bytes)} per image at dimension {self.dim:,}"),
        ]
        if self.curvature is not None:
            covered = self.curvature
            text = (
                f"{size(covered.bytes)} of factors; Kronecker products for {covered.share:.2%} of "
                f"the parameters; {covered.rotation / 1e9:,.4g} GFLOP to rotate a gradient, once "
                "an image"
            )
            rows.append(("curvature", text))
        shape = "x".join(map(str, self.sample_shape))
        return lines(f"{self.network} on {shape}, from shapes alone (an estimate):", rows)


@explained
def estimate(
    place: str | Path,
    *,
    lora_rank: int | None = None,
    side: int | None = None,
    prompt_tokens: int | None = None,
    method: str | Attributor = methods.DEFAULT,
    flops_per_second: float | None = None,
    bytes_per_second: float | None = None,
    **settings: Any,
) -> CostEstimate:
    """Estimate the cost of attribution without weights.

    Operations and live bytes are counted on tensors without data. Both are exact for float32 on a
    CPU. Time is their quotient by the measured speed of a few products, convolutions and
    activations, and only a rough guide.

    Args:
        place: a network's `config.json`, its folder, or a pipeline's folder.
        lora_rank: rank of a LoRA adapter on q, k, v and output of all attention; None for none.
        side: side of the images in pixels; by default that of the config.
        prompt_tokens: tokens of a prompt; by default the length that the pipeline pads to.
        method: a gradient method, by name or as an instance.
        flops_per_second: speed that another device reaches.
        bytes_per_second: speed of its memory; without it elementwise operations cost nothing.
        settings: any setting of the method by name.

    Raises:
        ModelError: if there is no config or its network is not supported.
        SettingsError: if the method takes no gradients, or a number is out of range.
    """
    for name, value in (("flops_per_second", flops_per_second), ("bytes", bytes_per_second)):
        require(value is None or value > 0, f"{name} must be above 0", value, "Try 1e12.")
    recipe: Any = override(methods.get(method)() if isinstance(method, str) else method, settings)
    if recipe.capabilities.features != "gradients":
        raise SettingsError(
            f"{recipe.title} takes no gradients. Use a gradient method, such as {methods.DEFAULT}."
        )
    specs = [term.features for term in recipe.feature_terms().values()]
    if any(spec.projection.needs_fit for spec in specs):
        raise SettingsError(
            "A projection that is fitted to images cannot be estimated from shapes. Use another "
            "(projection='two-sided', --projection two-sided)."
        )
    meta = build_meta_model(place, lora_rank, side, prompt_tokens)
    with meta.mode:
        terms = [_TermEstimate.of(meta, spec) for spec in specs]
    first, spec = terms[0], specs[0]
    curvature = next((term.curvature for term in terms if term.curvature is not None), None)
    if flops_per_second is None:
        rate = measure_rate()
    else:
        rate = MachineRate(flops_per_second, flops_per_second, bytes_per_second or 0.0)
    return CostEstimate(
        network=type(meta.denoiser.module).__name__,
        sample_shape=meta.denoiser.sample_shape,
        parameters=meta.parameters,
        adapters=meta.adapters,
        adapted=meta.adapted,
        selected=first.source.parameters,
        forward=first.forward,
        gradient=sum((term.gradient for term in terms[1:]), first.gradient),
        weight_bytes=4.0 * (meta.parameters + meta.adapters),
        pass_bytes=max(term.pass_bytes for term in terms),
        evaluations=spec.plan.evaluations,
        dim=sum(term.source.dim for term in terms),
        image_bytes=sum(table_schema(term.source).feature_bytes for term in terms),
        curvature=curvature,
        rate=rate,
        measured=flops_per_second is None,
    )


@dataclass(frozen=True, eq=False)
class _TermEstimate:
    """What the features of one set cost.

    Attributes:
        source: their extractor.
        forward, gradient, pass_bytes, curvature: see `CostEstimate`.
    """

    source: GradientExtractor
    forward: OperationCount
    gradient: OperationCount
    pass_bytes: tuple[float, float]
    curvature: CurvatureCoverage | None

    @classmethod
    def of(cls, meta: MetaModel, spec: FeatureSpec) -> _TermEstimate:
        """Count what one evaluation takes."""
        source = GradientExtractor([meta.denoiser], spec)
        projector = spec.projection.build(source.layers)
        engine = choose_engine(spec, meta.denoiser, source.layers, projector)
        pass_bytes = measure_pass(engine, meta.probe(1))
        count = min(8, spec.plan.evaluations)
        limit = int((bytes_of(spec.pass_memory) - pass_bytes[0]) / pass_bytes[1])
        engine.microbatch = max(1, min(count, spec.batch_size or limit))
        forward = _work(lambda probe: _forward(engine, probe), meta, count)
        group = torch.arange(count)
        gradient = _work(lambda probe: engine.mean_gradients([(probe, group)]), meta, count)
        curvature = None
        if spec.preconditioning.is_active:
            kind = spec.preconditioning.preconditioner
            curvature = CurvatureCoverage.of(meta.denoiser.module, source.layers, kind)
        return cls(source, forward, gradient, pass_bytes, curvature)


def _forward(engine: Engine, probe: NoisedBatch) -> None:
    for start in range(0, len(probe.t), engine.microbatch):
        with torch.no_grad():
            engine.values(probe[slice(start, start + engine.microbatch)])


def _work(run: Callable[[NoisedBatch], object], meta: MetaModel, count: int) -> OperationCount:
    """Count the operations of one evaluation, from a few in passes as large as memory allows."""
    probe = meta.probe(count)
    with OperationCounter() as counter:
        run(probe)
    return OperationCount(
        counter.products / count, counter.convolutions / count, counter.moved / count
    )


class OperationCounter(TorchDispatchMode):
    """Counter of operations on tensors of any kind.

    PyTorch's own counter counts by module with hooks, which disturb the hooks of an engine.

    Attributes:
        products, convolutions, moved: see `OperationCount`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.products = self.convolutions = self.moved = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        kind = func.overloadpacket
        if kind in flop_registry:
            operations = int(flop_registry[kind](*args, **(kwargs or {}), out_val=out))
            if kind in CONVOLUTIONS:
                self.convolutions += operations
            else:
                self.products += operations
        elif not func.is_view:
            tensors = (leaf for leaf in tree_leaves((args, out)) if isinstance(leaf, Tensor))
            self.moved += sum(leaf.numel() * leaf.element_size() for leaf in tensors)
        return out
