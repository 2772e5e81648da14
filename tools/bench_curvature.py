"""What EK-FAC costs, next to the training step: features, and both passes of the curvature's fit.

CPU time of one thread per evaluation (an image at a timestep), over that of a plain batched forward
and backward pass. Rounds of all are interleaved; figures are medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from tools.bench import NETWORKS, plain_step, random_images, small_denoiser
from tools.clock import seconds

from creditline import methods
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.features.gradients import GradientExtractor
from creditline.gradients.engine_choice import make_engine
from creditline.gradients.hook_engine import HookEngine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.preconditioning.preconditioner import Preconditioner
from creditline.runtime.allocator import keep_freed_memory
from creditline.settings import override

EVALUATIONS = 320
COLUMNS = ("D-TRAK's feature", "EK-FAC's feature", "covariances", "eigenvalues")


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS)[:3])
    parser.add_argument("--timesteps", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| network | T | plain, ms per evaluation | {' | '.join(COLUMNS)} |")
    print("| --- | --: | --: |" + " --: |" * len(COLUMNS))
    for name in args.networks:
        config = NETWORKS[name]
        denoiser = small_denoiser(config)
        for t in args.timesteps:
            plain, ratios = _measure(denoiser, config.resolution, t, args.rounds)
            cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {name} | {t} | {1000 * plain:.3g} | {cells} |", flush=True)


def _measure(
    denoiser: UNetDenoiser, resolution: int, t: int, rounds: int
) -> tuple[float, list[float]]:
    """Seconds of a plain evaluation, and what one takes in each column over that."""
    n = max(1, EVALUATIONS // t)
    images = random_images(n, resolution)
    work: list[Callable[[], object]] = [plain_step(denoiser, images, t)]
    few = {"timesteps": t, "preconditioner_draws": n * t}
    for name in ("d-trak", "ekfac"):
        method = override(methods.get(name)(), few if name == "ekfac" else {"timesteps": t})
        source = GradientExtractor([denoiser], method.features)
        source.fit(images)
        work.append(partial(source.extract, images, range(n), reduction="halves"))
    spec = source.spec
    engine = make_engine(HookEngine, spec, denoiser, source.layers, None)
    engine.microbatch = source.engines[0].microbatch
    draws = CurvatureDraws(spec.preconditioning, n)
    noised = draws.noised_images(denoiser, images, draws.rows.tolist(), 0)
    curvature = source.states[0].preconditioner
    if curvature is None:
        raise ValueError("EK-FAC has a curvature")
    work += [partial(_add_up, curvature, engine, noised, number) for number in range(2)]
    for one in work:
        one()  # draws what is kept
    every = []
    for _ in range(rounds):
        with keep_freed_memory():
            every.append([seconds(one, denoiser.device) for one in work])
    plain = statistics.median(first for first, *_ in every)
    ratios = [[other / first for other in others] for first, *others in every]
    return plain / (n * t), [statistics.median(column) for column in zip(*ratios, strict=True)]


def _add_up(
    curvature: Preconditioner, engine: HookEngine, noised: list[NoisedBatch], number: int
) -> None:
    """Add up the statistics of a pass, in groups as large as the fit's."""
    size = max(1, engine.microbatch // len(noised[0].t))
    for start in range(0, len(noised), size):
        curvature.add_up(number, engine, noised[start : start + size])


if __name__ == "__main__":
    main()
