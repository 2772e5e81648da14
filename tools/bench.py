"""What extraction costs, next to the training step that it is measured by (`make bench`).

For each network and number of timesteps, CPU time per evaluation (an image at a timestep) of one
thread over that of a plain batched forward and backward pass of the same evaluations. The rounds of
all engines are interleaved, so that a busy moment of the machine meets all; figures are medians of
the rounds' ratios. The plain pass runs with the allocator as PyTorch leaves it and, in a column of
its own, with freed memory kept, as an extraction does. Then what half precision does to scores,
with the model that ships with the benchmark `icons`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from copy import copy

import numpy as np
import torch
from diffusers import DDPMScheduler
from scipy.stats import spearmanr

from creditline import methods
from creditline.allocator import freed_memory_kept
from creditline.benchmarks import get
from creditline.benchmarks.shipped import find
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import UNetConfig
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.process import DiscreteProcess
from creditline.gradients.plan import NoisePlan
from creditline.gradients.probe import expand, join
from creditline.gradients.source import GradientSource
from creditline.gradients.spec import FeatureSpec
from creditline.settings import override

NETWORKS = {
    "16 px, about 1 M": UNetConfig(16, (24, 48, 72), (2,)),
    "32 px, about 1 M": UNetConfig(32, (24, 48, 72), (2,)),
    "16 px, about 10 M": UNetConfig(16, (64, 128, 256), (2,)),
    "32 px, about 10 M": UNetConfig(32, (64, 128, 256), (2,)),
}
ENGINES = {
    "two-sided": ("two-sided", "hooks", "fp32"),
    "two-sided, bf16": ("two-sided", "hooks", "bf16"),
    "whole, hooks": ("count-sketch", "hooks", "fp32"),
    "whole, autograd": ("count-sketch", "autograd", "fp32"),
}
KEPT = "plain, freed memory kept"
BATCH = 64
EVALUATIONS = 120
"""Of a round, where an image has fewer; they fill a pass."""
TRAIN, QUERIES = 128, 16


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--timesteps", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--no-scores", action="store_true", help="without half precision's scores")
    parser.add_argument("--compile", action="store_true", help="the plain pass compiled, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    columns = [*args.engines, KEPT, *(["plain, compiled"] if args.compile else [])]
    print(f"| network | parameters | T | plain, ms per evaluation | {' | '.join(columns)} |")
    print("| --- | --: | --: | --: |" + " --: |" * len(columns))
    for name in args.networks:
        config = NETWORKS[name]
        torch.manual_seed(0)
        denoiser = UNetDenoiser(config.build(), DiscreteProcess.from_scheduler(DDPMScheduler()))
        size = sum(p.numel() for p in denoiser.module.parameters())
        for t in args.timesteps:
            plain, ratios = _measure(denoiser, config.resolution, t, args)
            cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {name} | {size:,} | {t} | {1000 * plain:.1f} | {cells} |", flush=True)
    if not args.no_scores:
        _scores()


def _measure(
    denoiser: UNetDenoiser, resolution: int, t: int, args: argparse.Namespace
) -> tuple[float, list[float]]:
    """Seconds of CPU of a plain evaluation, and what one takes by each engine over that."""
    n = max(1, EVALUATIONS // t)
    pixels = np.random.default_rng(0).integers(0, 256, (n, resolution, resolution, 3), np.uint8)
    images = ImageSet.from_images(pixels)
    work: list[Callable[[], object]] = [plain_step(denoiser, images, t)]
    for projection, engine, precision in (ENGINES[name] for name in args.engines):
        settings = {"timesteps": t, "projection": projection, "engine": engine}
        spec = override(FeatureSpec(), {**settings, "precision": precision, "dim": args.dim})
        source = GradientSource([denoiser], spec)
        work.append(lambda s=source: s.extract(images, range(n), parts="halves"))  # type: ignore[misc]
    work.append(_kept(work[0]))
    if args.compile:
        compiled = copy(denoiser)
        compiled.module = torch.compile(denoiser.module)
        work.append(plain_step(compiled, images, t))
    for one in work:
        one()  # allocates, and draws what is kept
    rounds = [[_seconds(one) / (n * t) for one in work] for _ in range(args.rounds)]
    plain = statistics.median(first for first, *_ in rounds)
    ratios = [[other / first for other in others] for first, *others in rounds]
    return plain, [statistics.median(column) for column in zip(*ratios, strict=True)]


def _kept(work: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        with freed_memory_kept():
            work()

    return run


def _scores() -> None:
    """Print how scores of half precision agree with those of float32, and what they cost."""
    shipped = find(get("icons"))
    train, validation = shipped.images()
    model = load_model(str(shipped.model))
    print("\n| scores in bf16 | rank correlation with float32 | time over float32 |")
    print("| --- | --: | --: |")
    for name in ("trak", "d-trak"):
        scores, seconds = [], []
        for precision in ("fp32", "bf16"):
            method = override(methods.get(name)(), {"timesteps": 10, "precision": precision})
            source = GradientSource([model], method.features, method.query_plan)
            source.check(train)
            start = time.process_time()
            rows = source.extract(train, range(TRAIN))
            seconds.append(time.process_time() - start)
            queries = source.extract(validation, range(QUERIES), "query")
            scores.append(method.fit(rows[:, 0, 0]).attribute(queries[:, 0, 0]))
        rho = np.mean([spearmanr(a, b).statistic for a, b in zip(*scores, strict=True)])
        print(f"| {method.title} | {rho:.4f} | {seconds[1] / seconds[0]:.2f} |", flush=True)


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def plain_step(
    denoiser: Denoiser, images: ImageSet, t: int, parameters: Sequence[torch.Tensor] = ()
) -> Callable[[], object]:
    """A training step's forward and backward pass over all evaluations, in batches.

    Args:
        denoiser: the model.
        images: whose evaluations.
        t: timesteps of each.
        parameters: that the gradient is taken in; all by default.
    """
    batch = denoiser.encode(images, range(len(images)))
    evaluations = join(expand(denoiser, batch, NoisePlan(timesteps=t), "train"))
    process, chosen = denoiser.process, list(parameters) or list(denoiser.module.parameters())

    def run() -> None:
        for start in range(0, len(evaluations.t), BATCH):
            part = evaluations[slice(start, start + BATCH)]
            x_t = process.add_noise(part.x0, part.noise, part.t)
            output = denoiser.predict(x_t, part.t, part.condition)
            target = process.target(part.x0, part.noise, part.t)
            torch.autograd.grad(torch.nn.functional.mse_loss(output, target), chosen)

    return run


if __name__ == "__main__":
    main()
