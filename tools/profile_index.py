"""Profile `creditline index`: CPU time by stage, one thread (`make profile`).

Some images of each benchmark are indexed with the model that ships with it. Time inside an inner
stage is not counted for the outer one. Forward and backward passes are the model's own kernels and
the bookkeeping of hooks; computation in hooks has stages of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import isgenerator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lance  # noqa: F401  # by itself, so that its import is no part of the first shard
import torch

import creditline
from creditline.benchmarks import get
from creditline.benchmarks.shipped_benchmark import find
from creditline.features import gradients
from creditline.gradients import caption_turns, hook_engine, layer_gradients
from creditline.gradients.engine import Engine
from creditline.gradients.patch_sketch import PatchSketch
from creditline.gradients.projection.count_sketch import SketchAccumulator
from creditline.indexing.store import Store

MODEL = ("the model, forward", "the model, back")
ONCE = "once per index: load, size passes, compare with autograd, draw directions, commit"
CONTRACTED = "output gradients contracted"
WITH_WEIGHTS = (
    layer_gradients.LinearGradient,
    layer_gradients.ConvGradient,
    layer_gradients.EmbeddingGradient,
)
STAGES: list[tuple[Any, str, str]] = [
    (gradients.GradientExtractor, "extract", "encode, put together"),
    (caption_turns, "expand", "draw noise"),
    (Engine, "values", MODEL[0]),
    (torch.autograd, "grad", MODEL[1]),
    *((kind, "save", "inputs projected") for kind in WITH_WEIGHTS),
    *(
        (kind, "contract", CONTRACTED)
        for kind in layer_gradients.LAYER_GRADIENTS
        if "contract" in vars(kind)
    ),
    (PatchSketch, "sketch_input", "inputs projected"),
    (hook_engine.HookEngine, "accumulate", "bookkeeping of passes"),
    (Engine, "features", "bookkeeping of passes"),
    (SketchAccumulator, "add", "sketch"),
    (SketchAccumulator, "features", "sketch"),
    (Store, "write_shard", "write"),
    (Store, "commit", ONCE),
]


class Clock:
    """Seconds of CPU by stage; an inner stage stops that around it."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._stages = [ONCE]
        self._since = time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        # Within what is done once, passes of the network are no part of the others.
        self.turn()
        once = self._stages[-1] == ONCE and len(self._stages) > 1
        self._stages.append(ONCE if once else name)
        try:
            yield
        finally:
            self.turn()
            self._stages.pop()

    def turn(self) -> None:
        now = time.process_time()
        self.seconds[self._stages[-1]] += now - self._since
        self._since = now


@contextmanager
def measure_stages(clock: Clock) -> Iterator[None]:
    """Measure all stages with a clock."""
    with ExitStack() as stack:
        for owner, name, stage in [*STAGES, (gradients.GradientExtractor, "check", ONCE)]:
            original = getattr(owner, name)
            stack.enter_context(patch.object(owner, name, _on(clock, stage, original)))
        yield


def _on(clock: Clock, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        with clock.stage(stage):
            result = function(*args, **kwargs)
        return _steps(clock, stage, result) if isgenerator(result) else result

    return timed


def _steps(clock: Clock, stage: str, generator: Iterator[Any]) -> Iterator[Any]:
    """Measure a generator between its values, without their use."""
    while True:
        with clock.stage(stage):
            value = next(generator, None)
        if value is None:
            return
        yield value


def profile(name: str, data: str | None, n: int, timesteps: int) -> dict[str, float]:
    """Measure CPU seconds by stage of an index of `n` images of a benchmark."""
    case = find(get(name))
    images = case.images(data)[0].subset(range(n))
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        with measure_stages(clock):
            creditline.index(
                str(case.model), images, out=Path(folder) / "index", timesteps=timesteps
            )
            clock.turn()
    return dict(clock.seconds)


def main() -> None:
    """Profile and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--timesteps", type=int, default=10)
    parser.add_argument("--cifar2", metavar="FOLDER", help="images of cifar2-small; none: without")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cases = {"icons": None} | ({"cifar2-small": args.cifar2} if args.cifar2 else {})
    profiles = {n: profile(n, data, args.images, args.timesteps) for n, data in cases.items()}
    print(f"{args.images} images, T = {args.timesteps}\n")
    print(f"| ms per image | {' | '.join(profiles)} |\n| --- |{' --: |' * len(profiles)}")
    stages = [s for s in dict.fromkeys(stage for _, _, stage in STAGES) if s != ONCE]
    totals = {name: sum(s for k, s in x.items() if k != ONCE) for name, x in profiles.items()}
    for stage in stages:
        cells = [
            f"{1000 * x.get(stage, 0) / args.images:.1f} ({x.get(stage, 0) / totals[name]:.1%})"
            for name, x in profiles.items()
        ]
        print(f"| {stage} | {' | '.join(cells)} |")
    shares = [sum(x[s] for s in MODEL) / totals[name] for name, x in profiles.items()]
    print(f"| **in the model itself** | {' | '.join(f'**{share:.1%}**' for share in shares)} |")
    print(f"| {ONCE}, s | {' | '.join(f'{x[ONCE]:.1f}' for x in profiles.values())} |")


if __name__ == "__main__":
    main()
