"""How many evaluations a pass may hold: measured on the network, within a bound of memory."""

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
"""Larger passes are no faster."""
CACHED, READ, FEW = 320e6, 8, 10
"""On a CPU what a larger pass holds is out of the caches when it is needed again: so many bytes, or
more where every pass reads more weights, which so many times as much makes up for; and never less
than a few evaluations."""
TRIED = (1, 2)
MARGIN = 1.25
"""For the work space of kernels, which is not seen."""


def largest_pass(engine: Engine, probe: NoisedBatch, bound: float) -> int:
    """The largest pass that stays within a bound, at most as many evaluations as are of use.

    The peaks of two small passes are extended in a straight line, and so are those of the way
    forward alone: where weights are larger than what flows through them, their gradients hide its
    growth at first. The bytes of tensors are counted, which is the same at every call and on every
    device; a GPU's allocator would also tell of work space, which kernels choose by the size of a
    pass and which says nothing of larger ones.

    Args:
        engine: whose passes; its `microbatch` is as before afterwards.
        probe: any evaluation of an image.
        bound: bytes, besides the weights.

    Raises:
        SettingsError: if not even one evaluation fits.
    """
    rest, each = measure_pass(engine, probe)
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


def measure_pass(engine: Engine, probe: NoisedBatch) -> tuple[float, float]:
    """Bytes of a pass besides the weights: whatever its size, and for each evaluation in it.

    With the margin. On tensors of shapes alone (fake ones) they are those of real ones on a CPU.
    """
    _whole(engine, probe[:1])  # what is drawn once and kept is there afterwards
    lines = [_line(engine, probe, run) for run in (_forward, _whole)]
    each = MARGIN * max(1.0, *(slope for _, slope in lines))
    return MARGIN * max(0.0, *(start for start, _ in lines)), each


TrainingRun = Callable[[Engine, NoisedBatch], object]


def _forward(engine: Engine, probe: NoisedBatch) -> object:
    with torch.enable_grad():
        return engine.values(probe)


def _whole(engine: Engine, probe: NoisedBatch) -> object:
    return engine.means([(probe, torch.arange(len(probe.t)))])


def _line(engine: Engine, probe: NoisedBatch, run: TrainingRun) -> tuple[float, float]:
    """Most bytes that a pass holds at once, weights apart: of none, and of each evaluation."""
    (a, b), (small, large) = TRIED, [_peak(engine, probe, n, run) for n in TRIED]
    slope = (large - small) / (b - a)
    return small - a * slope, slope


def _peak(engine: Engine, probe: NoisedBatch, n: int, run: TrainingRun) -> int:
    before = engine.microbatch
    pass_ = probe[torch.zeros(n, dtype=torch.int64)]
    engine.microbatch = n
    try:
        with _Ledger(engine.denoiser.module) as ledger:
            run(engine, pass_)
        return ledger.peak
    finally:
        engine.microbatch = before


class _Ledger(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, as long as each lives."""

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

        def gone(_: Any) -> None:
            self.live -= n_bytes
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, gone)
        self.live += n_bytes
        self.peak = max(self.peak, self.live)
