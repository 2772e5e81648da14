"""Whose emoji taught the model? From training to totals per contributor, one command at a time."""

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
from blank import pipeline
from diffusers import AutoencoderKL
from pictures import pictures
from results import write_results

from creditline.data.load import load_images
from creditline.files import write_file

COST = "cost.json"
ENCODED = ("--encoded", "encoded")
"""Latents and prompts are the same for all models: autoencoder and text encoder stay frozen."""
QUIET = {"DIFFUSERS_VERBOSITY": "error", "TRANSFORMERS_VERBOSITY": "error"}


@dataclass(frozen=True)
class Scale:
    """How much of everything. `tuning` is the steps on all images, half of them on a subset."""

    autoencoder: int = 1500
    base: int = 8000
    tuning: int = 240
    rank: int = 16
    timesteps: int = 50
    dim: int = 4096
    subsets: int = 48
    shares: int = 32
    loss_timesteps: int = 25
    resamples: int = 1000


FULL = Scale()
QUICK = Scale(3, 3, 4, 2, 2, 64, 8, 8, 2, 20)


class Story:
    """All stages in a folder; a stage that is finished takes no time when it is run again."""

    def __init__(self, folder: Path, scale: Scale, workers: int) -> None:
        self.folder, self.scale, self.workers = folder, scale, workers

    def prepare(self, tarball: Path | None) -> None:
        """What creditline has no command for: pictures, autoencoder, a pipeline to start from."""
        self._timed("pictures", lambda: pictures(self.folder / "data", tarball))
        images = load_images(self.folder / "data" / "base")
        vae, blank = self.folder / "vae", self.folder / "blank"
        self._timed("autoencoder", lambda: train_autoencoder(images, vae, self.scale.autoencoder))
        if not (blank / "model_index.json").is_file():
            texts = [text for text in images.texts if text]
            pipeline(AutoencoderKL.from_pretrained(vae), texts).save_pretrained(blank)

    def train(self) -> None:
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
        """The prompts of the pictures that were held out, before and after tuning."""
        prompts = load_images(self.folder / "data" / "held-out").texts
        asked = [word for prompt in prompts for word in ("--prompt", prompt)]
        for model, out in (("base", "before"), ("tuned", "generated")):
            self._run(
                f"generate with {model}",
                *("generate", model, "-n", len(prompts), "--out", out, "--guidance", 3, *asked),
            )

    def attribute(self) -> None:
        s = self.scale
        for method in ("d-trak", "trak"):
            self._run(
                f"index for {method}",
                *("index", "tuned", "data/tune", "--method", method, "--out", f"index-{method}"),
                *("--timesteps", s.timesteps, "--dim", s.dim, "--workers", self.workers, *ENCODED),
            )
        self._run(
            "trace",
            *("trace", "index-d-trak", "generated", "--overwrite"),
            *("--html", "report.html", "--json", "trace.json"),
        )

    def retrain(self) -> None:
        """Fleets of two kinds: random subsets, and subsets of unequal shares."""
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

    def judge(self) -> None:
        families = {
            "d-trak": ("d-trak",),
            "trak": ("trak", "gradient-dot", "gradient-cosine", "pixel-dot"),
        }
        for scheme in ("random", "contributor-shares"):
            for index, methods in families.items():
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
        """One command of creditline, run in the folder, as it could be typed there."""
        command = [str(Path(sys.executable).with_name("creditline")), *map(str, words)]

        def work() -> None:
            code = subprocess.run(
                command, cwd=self.folder, env={**os.environ, **QUIET}, check=False
            ).returncode
            if code:
                raise SystemExit(code)

        self._timed(stage, work)

    def _timed(self, stage: str, work: Callable[[], object]) -> None:
        """Add the stage's CPU seconds, of all processes, to what earlier calls took for it."""
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
    """CPU seconds of this process and of those that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@click.command()
@click.option("--out", default="runs/openmoji", show_default=True, help="folder for everything")
@click.option("--tarball", type=Path, help="the npm package as a file, instead of `npm pack`")
@click.option("--workers", default=2, show_default=True, help="processes")
@click.option("--quick", is_flag=True, help="a few steps of everything: does it run?")
def main(out: str, tarball: Path | None, workers: int, quick: bool) -> None:
    """Run every stage; interrupted at any time, the same command goes on."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    story = Story(folder, QUICK if quick else FULL, workers)
    story.prepare(tarball)
    story.train()
    story.generate()
    story.attribute()
    story.retrain()
    story.judge()
    write_results(folder)


if __name__ == "__main__":
    main()
