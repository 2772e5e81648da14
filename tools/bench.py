"""What extraction costs, next to the training step that it is measured by (`make bench`).

For each network and number of timesteps, time per evaluation (an image at a timestep) over that of
a plain batched forward and backward pass of the same evaluations: CPU time of one thread or, with
`--device`, time of a GPU. The rounds of all engines are interleaved, so that a busy moment of the
machine meets all; figures are medians of the rounds' ratios. The plain pass runs with the allocator
or kernels as PyTorch leaves them and, in a column of its own, as an extraction has them. What half
precision does to scores comes last, with the model that ships with the benchmark `icons`.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from scipy.stats import spearmanr
from tools.clock import seconds

from creditline import methods
from creditline.benchmarks import get
from creditline.benchmarks.shipped_benchmark import find
from creditline.data.image_set import ImageSet
from creditline.diffusion.config import UNetConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.process import DiscreteProcess
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand, join
from creditline.gradients.spec import FeatureSpec
from creditline.methods import FitContext
from creditline.runtime.allocator import keep_freed_memory
from creditline.runtime.determinism import exact_kernels
from creditline.settings import override

NETWORKS = {
    "16 px, about 1 M": UNetConfig(16, (24, 48, 72), (2,)),
    "32 px, about 1 M": UNetConfig(32, (24, 48, 72), (2,)),
    "16 px, about 10 M": UNetConfig(16, (64, 128, 256), (2,)),
    "32 px, about 10 M": UNetConfig(32, (64, 128, 256), (2,)),
}
ENGINES = {
    "two-sided": ("two-sided", "hooks", "fp32"),
    "two-sided, tf32": ("two-sided", "hooks", "tf32"),
    "two-sided, bf16": ("two-sided", "hooks", "bf16"),
    "whole, hooks": ("count-sketch", "hooks", "fp32"),
    "whole, autograd": ("count-sketch", "autograd", "fp32"),
}
PLAIN = {"cpu": "plain, freed memory kept", "cuda": "plain, exact kernels"}
"""The plain pass with the settings of an extraction."""
OTHERS: dict[str, Callable[[torch.nn.Module], Any]] = {
    "plain, compiled": torch.compile,
    "plain, channels last": lambda module: module.to(memory_format=torch.channels_last),
}
BATCH = {"cpu": 64, "cuda": 1024}
"""Evaluations of a plain pass, as many as suit it."""
EVALUATIONS = {"cpu": 120, "cuda": 4000}
"""Of a round, where an image has fewer; they fill a pass."""
TRAIN, QUERIES = 128, 16


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--timesteps", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--engines", nargs="+", choices=ENGINES)
    parser.add_argument("--no-scores", action="store_true", help="without half precision's scores")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="evaluations of a plain pass")
    parser.add_argument("--compile", action="store_true", help="the plain pass compiled, too")
    parser.add_argument("--channels-last", action="store_true", help="and channels last, too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device)
    if args.engines is None:
        args.engines = [name for name in ENGINES if device.type != "cpu" or "tf32" not in name]
    columns = [*args.engines, PLAIN[device.type], *_others(args)]
    print(f"| network | parameters | T | plain, ms per evaluation | {' | '.join(columns)} |")
    print("| --- | --: | --: | --: |" + " --: |" * len(columns))
    for name in args.networks:
        config = NETWORKS[name]
        denoiser = small_denoiser(config)
        denoiser.to(device)
        size = sum(p.numel() for p in denoiser.module.parameters())
        for t in args.timesteps:
            plain, ratios = _measure(denoiser, config.resolution, t, args)
            cells = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"| {name} | {size:,} | {t} | {1000 * plain:.3g} | {cells} |", flush=True)
    if not args.no_scores:
        _scores(args.device)


def _measure(
    denoiser: UNetDenoiser, resolution: int, t: int, args: argparse.Namespace
) -> tuple[float, list[float]]:
    """Seconds of a plain evaluation, and what one takes by each engine over that."""
    n = max(1, EVALUATIONS[denoiser.device.type] // t)
    images = random_images(n, resolution)
    work: list[Callable[[], object]] = [plain_step(denoiser, images, t, batch=args.batch)]
    for projection, engine, precision in (ENGINES[name] for name in args.engines):
        settings = {"timesteps": t, "projection": projection, "engine": engine}
        spec = override(FeatureSpec(), {**settings, "precision": precision, "dim": args.dim})
        source = GradientExtractor([denoiser], spec)
        work.append(lambda s=source: s.extract(images, range(n), reduction="halves"))  # type: ignore[misc]
    work.append(work[0])
    for name in _others(args):
        other = copy(denoiser)
        other.module = OTHERS[name](deepcopy(denoiser.module))
        work.append(plain_step(other, images, t, batch=args.batch))
    for one in work:
        one()  # draws what is kept
    rounds = [_round(work, denoiser.device) for _ in range(args.rounds)]
    plain = statistics.median(first for first, *_ in rounds)
    ratios = [[other / first for other in others] for first, *others in rounds]
    return plain / (n * t), [statistics.median(column) for column in zip(*ratios, strict=True)]


def _others(args: argparse.Namespace) -> list[str]:
    flags = (args.compile, args.channels_last)
    return [name for name, is_on in zip(OTHERS, flags, strict=True) if is_on]


def _round(work: Sequence[Callable[[], object]], device: torch.device) -> list[float]:
    """Seconds of each; of the first as PyTorch leaves it, of others in the midst of an index."""
    first, *others = work
    plain = seconds(first, device)
    with keep_freed_memory(), exact_kernels(device):
        others[0]()  # what comes first finds no memory yet that is kept
        return [plain, *(seconds(one, device) for one in others)]


def _scores(device: str) -> None:
    """Print how scores of half precision agree with those of float32, and what they cost."""
    case = find(get("icons"))
    train, validation = case.images()
    model = load_model(str(case.model), device=device)
    print("\n| scores in bf16 | rank correlation with float32 | time over float32 |")
    print("| --- | --: | --: |")
    for name in ("trak", "d-trak"):
        scores, spent = [], []
        for precision in ("fp32", "bf16"):
            method = override(methods.get(name)(), {"timesteps": 10, "precision": precision})
            source = GradientExtractor([model], method.features, method.query_plan)
            source.check(train)
            rows = source.extract(train, range(TRAIN))
            again = partial(source.extract, train, range(TRAIN))
            spent.append(seconds(again, model.device))
            queries = source.extract(validation, range(QUERIES), "query")
            scores.append(
                method.fit(FitContext(features=rows[:, 0, 0])).attribute(queries[:, 0, 0])
            )
        rho = np.mean([spearmanr(a, b).statistic for a, b in zip(*scores, strict=True)])
        print(f"| {method.title} | {rho:.4f} | {spent[1] / spent[0]:.2f} |", flush=True)


def small_denoiser(config: UNetConfig) -> UNetDenoiser:
    """A network with random weights."""
    torch.manual_seed(0)
    return UNetDenoiser(config.build(), DiscreteProcess.from_scheduler(DDPMScheduler()))


def random_images(n: int, resolution: int) -> ImageSet:
    """Images of random pixels."""
    shape = (n, resolution, resolution, 3)
    return ImageSet.from_images(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def plain_step(
    denoiser: Denoiser,
    images: ImageSet,
    t: int,
    parameters: Sequence[torch.Tensor] = (),
    batch: int | None = None,
) -> Callable[[], object]:
    """A training step's forward and backward pass over all evaluations, in batches.

    Args:
        denoiser: the model.
        images: whose evaluations.
        t: timesteps of each.
        parameters: that the gradient is taken in; all by default.
        batch: evaluations of a pass; what suits the device by default.
    """
    size = batch or BATCH[denoiser.device.type]
    encoded = denoiser.encode(images, range(len(images)))
    evaluations = join(expand(denoiser, encoded, NoisePlan(timesteps=t), "train"))
    evaluations = evaluations.to(denoiser.device, denoiser.dtype)
    process, selected = denoiser.process, list(parameters) or list(denoiser.module.parameters())

    def run() -> None:
        for start in range(0, len(evaluations.t), size):
            part = evaluations[slice(start, start + size)]
            x_t = process.add_noise(part.x0, part.noise, part.t)
            output = denoiser.predict(x_t, part.t, part.condition)
            target = process.target(part.x0, part.noise, part.t)
            torch.autograd.grad(torch.nn.functional.mse_loss(output, target), selected)

    return run


if __name__ == "__main__":
    main()
