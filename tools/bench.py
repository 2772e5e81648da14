"""What extraction costs, next to the training step that it is measured by (`make bench`).

For each network and number of timesteps, CPU time per evaluation (an image at a timestep) of one
thread over that of a plain batched forward and backward pass of the same evaluations. The rounds of
all engines are interleaved, so that a busy moment of the machine meets all; figures are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from diffusers import DDPMScheduler

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import UNetConfig
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.gradients.plan import NoisePlan
from creditline.gradients.probe import expand, join
from creditline.gradients.projection import Projection
from creditline.gradients.source import GradientSource
from creditline.gradients.spec import FeatureSpec

NETWORKS = {
    "16 px, about 1 M": UNetConfig(16, (24, 48, 72), (2,)),
    "32 px, about 1 M": UNetConfig(32, (24, 48, 72), (2,)),
    "16 px, about 10 M": UNetConfig(16, (64, 128, 256), (2,)),
    "32 px, about 10 M": UNetConfig(32, (64, 128, 256), (2,)),
}
ENGINES = {
    "two-sided": ("two-sided", "hooks"),
    "whole gradients, autograd": ("count-sketch", "autograd"),
}
BATCH = 64


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--timesteps", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", type=int, default=4096)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| network | parameters | T | plain, ms per evaluation | {' | '.join(ENGINES)} |")
    print("| --- | --: | --: | --: |" + " --: |" * len(ENGINES))
    for name in args.networks:
        config = NETWORKS[name]
        torch.manual_seed(0)
        denoiser = UNetDenoiser(config.build(), DiscreteProcess.from_scheduler(DDPMScheduler()))
        size = sum(p.numel() for p in denoiser.module.parameters())
        for t in args.timesteps:
            row = _measure(denoiser, config.resolution, t, args.dim, args.rounds)
            plain, *others = row
            ratios = " | ".join(f"{other / plain:.2f}" for other in others)
            print(f"| {name} | {size:,} | {t} | {1000 * plain:.1f} | {ratios} |", flush=True)


def _measure(denoiser: UNetDenoiser, resolution: int, t: int, dim: int, rounds: int) -> list[float]:
    """Seconds of CPU per evaluation: plain, then each engine."""
    n = max(1, 120 // t)
    pixels = np.random.default_rng(0).integers(0, 256, (n, resolution, resolution, 3), np.uint8)
    images = ImageSet.from_images(pixels)
    work: list[Callable[[], object]] = [plain_step(denoiser, images, t)]
    for projection, engine in ENGINES.values():
        spec = FeatureSpec(
            plan=NoisePlan(timesteps=t),
            projection=Projection(projection, dim),
            engine=engine,  # type: ignore[arg-type]
        )
        source = GradientSource([denoiser], spec)
        work.append(lambda s=source: s.extract(images, range(n), parts="halves"))  # type: ignore[misc]
    for one in work:
        one()  # allocates, and draws what is kept
    seconds: list[list[float]] = [[] for _ in work]
    for _ in range(rounds):
        for one, kept in zip(work, seconds, strict=True):
            start = time.process_time()
            one()
            kept.append((time.process_time() - start) / (n * t))
    return [statistics.median(kept) for kept in seconds]


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
