"""EK-FAC influence beside kronfluence's: equal evaluations, agreement of scores, CPU time.

Both estimate the curvature of the convolutions and linear layers of one small UNet from the same
noisy images and the same sampled outputs, with a damping of a tenth of each layer's mean eigenvalue
(kronfluence's default), and score the same queries. kronfluence gets an environment of its own
beside this one, made on the first call.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from tools.bench import NETWORKS, random_images, small_denoiser
from tools.bench_peers import HERE, NETWORK, environment
from torch import Tensor, nn

from creditline.data.image_set import ImageSet
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import NoisedBatch, expand, join
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.preconditioning.draws import CurvatureDraws
from creditline.gradients.projection import Projection
from creditline.gradients.spec import FeatureSpec

DAMPING = 0.1


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--queries", type=int, default=8)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--draws", type=int, default=480)
    parser.add_argument("--venvs", type=Path, default=HERE.parent, help="where it is made")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = NETWORKS[NETWORK]
    denoiser = small_denoiser(config)
    layers = (nn.Linear, nn.Conv2d)
    modules = [name for name, part in denoiser.module.named_modules() if isinstance(part, layers)]
    images = random_images(args.images + args.queries, config.resolution)
    train = images.subset(range(args.images))
    queries = images.subset(range(args.images, len(images)))
    settings = Preconditioning(
        "ekfac", preconditioner_draws=args.draws, preconditioner_damping=DAMPING
    )
    plan = NoisePlan(timesteps=args.timesteps)
    spec = FeatureSpec(
        plan=plan,
        projection=Projection("none"),
        preconditioning=settings,
        parameters=",".join(f"{name}.*" for name in modules),
        halves=False,
    )
    source = GradientExtractor([denoiser], spec)
    start = time.process_time()
    source.fit(train)
    middle = time.process_time()
    features = source.extract(train, range(len(train)))[:, 0, 0]
    others = source.extract(queries, range(len(queries)), "query")[:, 0, 0]
    ours = others @ features.T
    own = middle - start, time.process_time() - middle
    python = environment("kronfluence", args.venvs / ".venv-kronfluence")
    if python is None:
        return
    with tempfile.TemporaryDirectory() as folder:
        work = _work(denoiser, train, queries, plan, settings)
        work |= {"modules": modules, "counts": (len(queries), len(train))}
        denoiser.module.save_pretrained(Path(folder) / "unet")
        torch.save(work, Path(folder) / "work.pt")
        script = str(HERE / "peers" / "with_kronfluence.py")
        result = subprocess.run(
            [str(python), script, folder], capture_output=True, text=True, check=False
        )
        if result.returncode:
            print(result.stderr[-2000:], file=sys.stderr)
            sys.exit(1)
        theirs = torch.load(Path(folder) / "scores.pt").numpy()
        seconds = [float(x) for x in result.stdout.split("seconds")[1].split()]
    rank = np.mean([spearmanr(a, b).statistic for a, b in zip(ours, theirs, strict=True)])
    correlation = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    print(f"{NETWORK}, {args.images} images, {args.queries} queries, {args.timesteps} timesteps,")
    print(f"{args.draws} evaluations a pass, {len(modules)} layers\n")
    print(
        f"rank correlation of a query's scores: {rank:.4f}; correlation of all: {correlation:.5f}"
    )
    for name, mine, other in zip(("factors", "scores"), own, seconds, strict=True):
        print(f"CPU time of {name}: {other / mine:.2f} times ours ({mine:.1f} s)")


def _work(
    denoiser: UNetDenoiser,
    train: ImageSet,
    queries: ImageSet,
    plan: NoisePlan,
    settings: Preconditioning,
) -> dict[str, object]:
    """The evaluations that both libraries use, as noisy images, timesteps and a third tensor."""
    draws = CurvatureDraws(settings, len(train))
    rows = draws.rows.tolist()
    passes = [join(draws.noised_images(denoiser, train, rows, number)) for number in range(2)]
    curvature = {
        name: _inputs(denoiser, noised, noised.output_gradient)
        for name, noised in zip(("first", "second"), passes, strict=True)
    }
    gradients = {}
    for name, some, role in (("train", train, "train"), ("query", queries, "query")):
        batch = denoiser.encode(some, range(len(some)))
        noised = join(expand(denoiser, batch, plan, role))
        target = denoiser.process.target(noised.x0, noised.noise, noised.t)
        gradients[name] = _inputs(denoiser, noised, target)
    return {**curvature, **gradients}


def _inputs(denoiser: UNetDenoiser, noised: NoisedBatch, other: Tensor | None) -> list[Tensor]:
    if other is None:
        raise ValueError("curvature needs sampled outputs")
    x_t = denoiser.process.add_noise(noised.x0, noised.noise, noised.t)
    return [x_t.contiguous(), noised.t, other.contiguous()]


if __name__ == "__main__":
    main()
