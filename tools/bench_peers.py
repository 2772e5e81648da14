"""The same work by other libraries (`make bench-peers`): CPU time per evaluation, one thread.

Projected gradients of the diffusion loss, one for each image and timestep, at equal k. Each library
gets an environment of its own beside this one, made on the first call; where it cannot be
installed, that is said and it is left out. As a proof that the work is the same, inner products of
a library's features are correlated with those of our own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench import NETWORKS, plain_step
from diffusers import DDPMScheduler

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import UNetDenoiser
from creditline.diffusion.process import DiscreteProcess
from creditline.gradients.plan import NoisePlan
from creditline.gradients.probe import expand, join
from creditline.gradients.source import GradientSource
from creditline.gradients.spec import FeatureSpec
from creditline.settings import override

HERE = Path(__file__).resolve().parent
PEERS = {"traker": "with_trak.py", "dattri": "with_dattri.py"}
NETWORK = "16 px, about 1 M"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--timesteps", type=int, default=8)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--venvs", type=Path, default=HERE.parent, help="where they are made")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = NETWORKS[NETWORK]
    denoiser = UNetDenoiser(config.build(), DiscreteProcess.from_scheduler(DDPMScheduler()))
    shape = (args.images, config.resolution, config.resolution, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images, count = ImageSet.from_images(pixels), args.images * args.timesteps
    plain = _seconds(plain_step(denoiser, images, args.timesteps)) / count
    spec = override(FeatureSpec(), {"timesteps": args.timesteps, "dim": args.dim})
    source = GradientSource([denoiser], spec)
    ours = _seconds(lambda: source.extract(images, range(args.images))) / count
    mine = source.extract(images, range(args.images), parts="timesteps").reshape(count, -1)
    print(f"{NETWORK}, {args.images} images x {args.timesteps} timesteps, k = {args.dim:,}\n")
    print("| | CPU ms per evaluation | over forward + backward | over ours | inner products |")
    print("| --- | --: | --: | --: | --: |")
    print(f"| forward + backward | {1000 * plain:.1f} | 1.0 | | |")
    print(f"| Creditline | {1000 * ours:.1f} | {ours / plain:.1f} | 1.0 | |", flush=True)
    for peer, script in PEERS.items():
        python = _environment(peer, args.venvs / f".venv-{peer}")
        if python is None:
            continue
        found = _by_peer(python, script, denoiser, images, args.timesteps, args.dim)
        if found is None:
            print(f"{peer} did not do the work and is left out.", file=sys.stderr)
            continue
        seconds, features = found
        each, same = seconds / count, _likeness(features, mine)
        print(
            f"| {peer} | {1000 * each:.1f} | {each / plain:.1f} | {each / ours:.1f} | "
            f"r = {same:.3f} |",
            flush=True,
        )


def _environment(peer: str, folder: Path) -> Path | None:
    """The Python of an environment with the peer in it; None where it cannot be installed."""
    python = folder / "bin" / "python"
    done = folder / ".installed"
    if not done.is_file():
        print(f"Installing {peer} into {folder.name} ...", file=sys.stderr)
        version = torch.__version__.split("+")[0]
        install = [str(python), "-m", "pip", "install", "--quiet"]
        steps = [
            [sys.executable, "-m", "venv", str(folder)],
            [*install, f"torch=={version}"],
            [*install, "diffusers", "numpy", peer],
        ]
        for step in steps:
            result = subprocess.run(step, capture_output=True, text=True)
            if result.returncode:
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                print(f"{peer} is left out: it does not install here ({reason}).", file=sys.stderr)
                return None
        done.touch()
    return python


def _by_peer(
    python: Path, script: str, denoiser: UNetDenoiser, images: ImageSet, t: int, dim: int
) -> tuple[float, np.ndarray] | None:
    """Seconds of CPU, and features of shape `(evaluations, dim)`; None where it fails."""
    batch = denoiser.encode(images, range(len(images)))
    work = join(expand(denoiser, batch, NoisePlan(timesteps=t), "train"))
    x_t = denoiser.process.add_noise(work.x0, work.noise, work.t)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        denoiser.module.save_pretrained(folder / "unet")
        torch.save([x_t, work.t, work.noise], folder / "work.pt")
        command = [str(python), str(HERE / "peers" / script), str(folder), str(dim)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            print(result.stderr.strip(), file=sys.stderr)
            return None
        seconds = json.loads((folder / "seconds.json").read_text("utf-8"))
        return seconds, torch.load(folder / "features.pt").numpy()


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the inner products of two sets of features."""
    return float(np.corrcoef((a @ a.T).ravel(), (b @ b.T).ravel())[0, 1])


def _seconds(work) -> float:  # type: ignore[no-untyped-def]
    work()  # allocates, and draws what is kept
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
