"""Run the example: from training to totals per contributor, one command at a time."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from autoencoder import train_autoencoder
from diffusers import AutoencoderKL
from emoji_images import draw_images
from results import write_results
from untrained_pipeline import pipeline

from creditline.data.load import load_images
from creditline.files import write_file

COST = "cost.json"
ENCODED = ("--encoded", "encoded")
"""Latents and prompts are the same for all models: autoencoder and text encoder stay frozen."""
INDEXES = {
    "combined": ("combined", "ekfac", "d-trak"),
    "trak": ("trak", "gradient-dot", "gradient-cosine", "pixel-dot"),
}
"""Methods that score on each index."""
QUIET = {"DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"}


@dataclass(frozen=True)
class Scale:
    """Size of every stage. `tuning` is the number of steps on all images; a subset has half.

    Methods have their own dimension unless `dim` is given.
    """

    autoencoder: int = 1500
    base: int = 8000
    tuning: int = 240
    rank: int = 16
    timesteps: int = 50
    dim: int | None = None
    subsets: int = 48
    shares: int = 32
    loss_timesteps: int = 25
    resamples: int = 1000


FULL = Scale()
QUICK = Scale(3, 3, 4, 2, 2, 64, 8, 8, 2, 20)


class Example:
    """All stages in a folder; a finished stage is not run again."""

    def __init__(self, folder: Path, scale: Scale, workers: int) -> None:
        self.folder, self.scale, self.workers = folder, scale, workers

    def prepare(self, tarball: Path | None) -> None:
        """Draw images, train the autoencoder and write an untrained pipeline."""
        self._timed("images", lambda: draw_images(self.folder / "data", tarball))
        images = load_images(self.folder / "data" / "base")
        vae, blank = self.folder / "vae", self.folder / "blank"
        self._timed("autoencoder", lambda: train_autoencoder(images, vae, self.scale.autoencoder))
        if not (blank / "model_index.json").is_file():
            texts = [text for text in images.texts if text]
            pipeline(AutoencoderKL.from_pretrained(vae), texts).save_pretrained(blank)

    def train(self) -> None:
        """Train the base, then tune it."""
        s = self.scale
        self._run(
            "train the base",
            *("train", "data/base", "--base", "blank", "--out", "base"),
            *("--threads", 1, *ENCODED),
            *("--steps", s.base, "--batch-size", 16, "--learning-rate", 1e-3),
            *("--caption-dropout", 0.1, "--ema", 0.999),
        )
        self._run(
            "tune",
            *("train", "data/tune", "--out", "tuned", "--threads", 1, *self._tuning(s.tuning)),
        )

    def generate(self) -> None:
        """Generate images from the prompts of the held-out images, before and after tuning."""
        prompts = load_images(self.folder / "data" / "held-out").texts
        options = [word for prompt in prompts for word in ("--prompt", prompt)]
        for model, out in (("base", "before"), ("tuned", "generated")):
            self._run(
                f"generate with {model}",
                *("generate", model, "-n", len(prompts), "--out", out, "--guidance", 3, *options),
            )

    def attribute(self) -> None:
        """Index the tuned model and trace the generated images."""
        s = self.scale
        for method in INDEXES:
            self._run(
                f"index for {method}",
                *("index", "tuned", "data/tune", "--method", method, "--out", f"index-{method}"),
                *("--timesteps", s.timesteps, "--workers", self.workers, *ENCODED),
                *(() if s.dim is None else ("--dim", s.dim)),
            )
        self._run(
            "trace",
            *("trace", "index-combined", "generated", "--overwrite"),
            *("--html", "report.html", "--json", "trace.json"),
        )

    def retrain(self) -> None:
        """Retrain on random subsets, and on subsets of unequal shares."""
        for scheme, subsets in (
            ("random", self.scale.subsets),
            ("contributor-shares", self.scale.shares),
        ):
            self._run(
                f"retrain on {scheme}",
                *("evaluate", "retrain", "data/tune", "--scheme", scheme),
                *("--queries", "data/held-out", "--queries", "generated"),
                *("--subsets", subsets, "--seeds", 2, "--out", f"truth-{scheme}"),
                *("--loss-timesteps", self.scale.loss_timesteps, "--loss-draws", 1),
                *("--workers", self.workers),
                *self._tuning(self.scale.tuning // 2),
            )

    def evaluate(self) -> None:
        """Compute the LDS of every method."""
        for scheme in ("random", "contributor-shares"):
            for index, methods in INDEXES.items():
                self._run(
                    f"LDS of {index} on {scheme}",
                    *("evaluate", "lds", f"index-{index}", "--ground-truth", f"truth-{scheme}"),
                    *("--queries", "data/held-out", "--queries", "generated"),
                    *(word for name in methods for word in ("--method", name)),
                    *("--resamples", self.scale.resamples),
                    *("--json", f"lds-{scheme}-{index}.json", "--overwrite"),
                )

    def _tuning(self, steps: int) -> tuple[object, ...]:
        return (
            *("--base", "base", "--lora-rank", self.scale.rank, "--steps", steps),
            *("--batch-size", 16, "--learning-rate", 5e-3, "--caption-dropout", 0.1, *ENCODED),
        )

    def _run(self, stage: str, *words: object) -> None:
        """Run a command of creditline in the folder, as it could be typed there."""
        command = [str(Path(sys.executable).with_name("creditline")), *map(str, words)]

        def work() -> None:
            code = subprocess.run(
                command, cwd=self.folder, env={**os.environ, **QUIET}, check=False
            ).returncode
            if code:
                raise SystemExit(code)

        self._timed(stage, work)

    def _timed(self, stage: str, work: Callable[[], object]) -> None:
        """Add the CPU seconds of all processes to those of earlier calls of the stage."""
        click.echo(f"\n== {stage}")
        before, started = _cpu(), time.monotonic()
        try:
            work()
        finally:
            path = self.folder / COST
            cost = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            cost[stage] = cost.get(stage, 0.0) + _cpu() - before
            text = json.dumps(cost, indent=1)
            write_file(path, lambda p: p.write_text(text + "\n", "utf-8"), overwrite=True)
            click.echo(f"{_cpu() - before:.0f} s of CPU, {time.monotonic() - started:.0f} s")


def _cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@click.command()
@click.option("--out", default="runs/openmoji", show_default=True, help="folder for everything")
@click.option("--tarball", type=Path, help="the npm package as a file, instead of `npm pack`")
@click.option("--workers", default=2, show_default=True, help="processes")
@click.option("--quick", is_flag=True, help="run only a few steps of every stage")
def main(out: str, tarball: Path | None, workers: int, quick: bool) -> None:
    """Run every stage. Interrupt it at any time; the same command continues."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    example = Example(folder, QUICK if quick else FULL, workers)
    example.prepare(tarball)
    example.train()
    example.generate()
    example.attribute()
    example.retrain()
    example.evaluate()
    write_results(folder)


if __name__ == "__main__":
    main()
