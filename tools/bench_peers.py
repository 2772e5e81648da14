"""Benchmark other libraries on the same work (`make bench-peers`): CPU time, one thread.

Projected gradients of the diffusion loss, one for each image and timestep, at equal k. Each library
gets an environment of its own beside this one, made on the first call; where it cannot be
installed, that is said and it is left out. As a proof that the work is the same, inner products of
a library's features are correlated with those of our own. All take turns; figures are medians of
calls after the first.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from subprocess import PIPE

import numpy as np
import torch
from tools.bench import NETWORKS, plain_step, random_images, small_denoiser

from creditline.data.image_set import ImageSet
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.noised_batch import expand, join
from creditline.gradients.spec import FeatureSpec
from creditline.settings import override

HERE = Path(__file__).resolve().parent
PEERS = {"traker": "with_trak.py", "dattri": "with_dattri.py"}
NETWORK = "16 px, about 1 M"
FILL = 64
"""Evaluations of the plain pass and of ours, which work in passes; a peer's cost seconds each."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--venvs", type=Path, default=HERE.parent, help="where they are made")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = NETWORKS[NETWORK]
    denoiser = small_denoiser(config)
    images = random_images(FILL // args.timesteps, config.resolution)
    theirs, count = images.subset(range(args.images)), args.images * args.timesteps
    spec = override(FeatureSpec(), {"timesteps": args.timesteps, "dim": args.dim})
    source = GradientExtractor([denoiser], spec)
    mine = source.extract(theirs, range(args.images), reduction="timesteps").reshape(count, -1)
    plain = plain_step(denoiser, images, args.timesteps)
    ours = partial(source.extract, images, range(len(images)), reduction="timesteps")
    full = len(images) * args.timesteps
    work: dict[str, Callable[[], float]] = {
        "forward + backward": lambda: _seconds(plain) / full,
        "Creditline": lambda: _seconds(ours) / full,
    }
    with ExitStack() as stack:
        folders = {}
        for peer, script in PEERS.items():
            python = environment(peer, args.venvs / f".venv-{peer}")
            if python is not None:
                folders[peer] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                _hand_over(folders[peer], denoiser, theirs, args.timesteps)
                command = [str(python), str(HERE / "peers" / script), str(folders[peer])]
                process = subprocess.Popen(
                    [*command, str(args.dim)], stdin=PIPE, stdout=PIPE, text=True
                )
                stack.callback(process.kill)
                work[peer] = lambda p=process: _by_peer(p) / count  # type: ignore[misc]
        seconds: dict[str, list[float]] = {name: [] for name in work}
        for turn in range(args.rounds + 1):
            for name in list(work):
                try:
                    measured = work[name]()
                except ChildProcessError:
                    print(f"{name} did not do the work and is left out.", file=sys.stderr)
                    del work[name]
                    continue
                if turn:  # the first call allocates and fills caches
                    seconds[name].append(measured)
        middle = {name: statistics.median(seconds[name]) for name in work}
        print(f"{NETWORK}, {args.images} images x {args.timesteps} timesteps, k = {args.dim:,}\n")
        print("| | CPU ms per evaluation | over forward + backward | over ours | inner products |")
        print("| --- | --: | --: | --: | --: |")
        for name, each in middle.items():
            cells = [f"{1000 * each:.1f}", f"{each / middle['forward + backward']:.1f}", "", ""]
            if name != "forward + backward":
                cells[2] = f"{each / middle['Creditline']:.1f}"
            if name in folders:
                features = torch.load(folders[name] / "features.pt").numpy()
                cells[3] = f"r = {_agreement(features, mine):.3f}"
            print(f"| {name} | {' | '.join(cells)} |")


def environment(peer: str, folder: Path) -> Path | None:
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
            # Some peers want it, nothing here uses it, and it needs one build of PyTorch.
            [str(python), "-m", "pip", "uninstall", "--quiet", "--yes", "torchvision"],
        ]
        for step in steps:
            result = subprocess.run(step, capture_output=True, text=True)
            if result.returncode:
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                print(f"{peer} is left out: it does not install here ({reason}).", file=sys.stderr)
                return None
        done.touch()
    return python


def _hand_over(folder: Path, denoiser: UNetDenoiser, images: ImageSet, t: int) -> None:
    """Write the network and its evaluations for a peer to read."""
    batch = denoiser.encode(images, range(len(images)))
    work = join(expand(denoiser, batch, NoisePlan(timesteps=t), "train"))
    x_t = denoiser.process.add_noise(work.x0, work.noise, work.t)
    denoiser.module.save_pretrained(folder / "unet")
    torch.save([x_t, work.t, work.noise], folder / "work.pt")


def _by_peer(process: subprocess.Popen[str]) -> float:
    """Seconds of CPU of one more call.

    Raises:
        ChildProcessError: if it failed; its own words are on the error stream.
    """
    if process.stdin is None or process.stdout is None or process.poll() is not None:
        raise ChildProcessError
    try:
        process.stdin.write("\n")
        process.stdin.flush()
    except BrokenPipeError as error:
        raise ChildProcessError from error
    for line in process.stdout:  # libraries print, too
        if line.startswith("seconds "):
            return float(line.split()[1])
    raise ChildProcessError


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the inner products of two sets of features."""
    return float(np.corrcoef((a @ a.T).ravel(), (b @ b.T).ravel())[0, 1])


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
