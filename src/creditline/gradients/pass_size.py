"""How many evaluations a pass may hold: measured on the network, within a memory limit."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from creditline.errors import SettingsError
from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.units import size

MOST_ON_CPU, MOST_ELSEWHERE = 128, 4096
"""Number of evaluations above which passes are no faster."""
CACHED, READ, FEW = 320e6, 8, 10
"""On a CPU a pass that holds more than `CACHED` bytes evicts from the caches what it needs again.
Reading the weights once per pass outweighs that up to `READ` times their bytes. A pass has at least
`FEW` evaluations."""
MEASURED = (1, 2)
"""Sizes of the measured passes."""
MARGIN = 1.25
"""Allows for the workspace of kernels, which is not measured."""


def largest_pass(engine: Engine, noised: NoisedBatch, bound: float) -> int:
    """Return the largest useful number of evaluations in a pass within a memory limit.

    The peaks of two small passes are extrapolated linearly, and so are those of the forward pass
    alone: with weights larger than activations, gradients of weights hide the growth of activations
    at first. The bytes of tensors are counted, which gives the same number at every call and on
    every device. A GPU's allocator would include workspace, which does not grow linearly.

    Args:
        engine: of the passes; its `microbatch` is restored afterwards.
        noised: any evaluation of an image.
        bound: bytes, without the weights.

    Raises:
        SettingsError: if not even one evaluation fits.
    """
    rest, each = measure_pass(engine, noised)
    if rest + each > bound:
        raise SettingsError(
            f"One evaluation of the network takes {size(rest + each)}, and a pass may take "
            f"{size(bound)}. Allow it more (pass_memory, --pass-memory), or set the number of "
            "evaluations in a pass yourself (batch_size, --batch-size)."
        )
    most = MOST_ELSEWHERE
    if engine.denoiser.device.type == "cpu":
        weights = sum(x.nbytes for x in engine.denoiser.module.parameters())
        most = min(MOST_ON_CPU, max(FEW, int((CACHED + READ * weights) / each)))
    return min(most, int((bound - rest) / each))


def measure_pass(engine: Engine, noised: NoisedBatch) -> tuple[float, float]:
    """Measure the bytes of a pass without the weights, including the margin.

    Fake tensors, which have shapes only, give the bytes of real ones on a CPU.

    Args:
        engine: of the passes.
        noised: any evaluation of an image.

    Returns:
        Bytes of a pass of any size, and bytes of each evaluation in it.
    """
    _backward(engine, noised[:1])  # draws what later passes reuse
    lines = [_fit_line(engine, noised, run) for run in (_forward, _backward)]
    each = MARGIN * max(1.0, *(slope for _, slope in lines))
    return MARGIN * max(0.0, *(start for start, _ in lines)), each


PassFunction = Callable[[Engine, NoisedBatch], object]


def _forward(engine: Engine, noised: NoisedBatch) -> object:
    with torch.enable_grad():
        return engine.values(noised)


def _backward(engine: Engine, noised: NoisedBatch) -> object:
    return engine.mean_gradients([(noised, torch.arange(len(noised.t)))])


def _fit_line(engine: Engine, noised: NoisedBatch, run: PassFunction) -> tuple[float, float]:
    """Fit the peak bytes of a pass without weights: constant, and bytes of each evaluation."""
    (a, b), (small, large) = MEASURED, [_peak(engine, noised, n, run) for n in MEASURED]
    slope = (large - small) / (b - a)
    return small - a * slope, slope


def _peak(engine: Engine, noised: NoisedBatch, n: int, run: PassFunction) -> int:
    before = engine.microbatch
    pass_ = noised[torch.zeros(n, dtype=torch.int64)]
    engine.microbatch = n
    try:
        with _Ledger(engine.denoiser.module) as ledger:
            run(engine, pass_)
        return ledger.peak
    finally:
        engine.microbatch = before


class _Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that operations create, while each is alive."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}
        for tensor in (*module.parameters(), *module.buffers()):
            self._note(tensor, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._note(leaf, leaf.untyped_storage().nbytes())
        return out

    def _note(self, tensor: Tensor, n_bytes: int) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        known = self._known.get(key)
        if known is not None and known() is storage:  # a view
            return

        def release(_: Any) -> None:
            self.live -= n_bytes
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, release)
        self.live += n_bytes
        self.peak = max(self.peak, self.live)
