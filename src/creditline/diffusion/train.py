"""Training a small diffusion model from scratch, interruptible and repeatable to the bit."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import UNetDenoiser
from creditline.diffusion.load import RECORD
from creditline.diffusion.process import DiscreteProcess
from creditline.diffusion.sample import sample
from creditline.diffusion.state import TrainState
from creditline.errors import CreditlineError, NumericsError
from creditline.fingerprint import key64
from creditline.manifest import Manifest, circumstances, claim
from creditline.progress import Progress
from creditline.report.sheet import sheet
from creditline.settings import to_dict

SAVE_SECONDS = 30.0
GRID = 16


def train(
    images: Any,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    device: str | torch.device = "cpu",
    threads: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Train a `UNet2DModel` on images.

    Interrupt it at any time; the same call continues and ends with identical weights (on the same
    machine and number of threads).

    Args:
        images: what `load_images` takes.
        out: run folder. Receives `model/` (a diffusers pipeline), `checkpoints/`, `samples/`,
            `log.jsonl` and `manifest.json`.
        config: settings, such as those of `creditline.diffusion.presets`.
        device: where to train.
        threads: CPU threads; torch's own choice by default.
        overwrite: replace a run with other settings.

    Returns:
        The run folder, which `load_model` takes.

    Raises:
        ModelError: if the images do not fit the network.
        NumericsError: if the loss is not finite; the last good state is kept.
        CreditlineError: if `out` is taken, or the disk is full.
    """
    config, pictures, folder = config or TrainConfig(), load_images(images), Path(out)
    denoiser = _fresh(config)
    denoiser.check(pictures)
    request = {
        "config": to_dict(config),
        "images": {"fingerprint": pictures.fingerprint, "n": len(pictures)},
    }
    manifest = Manifest("run", request, {"data_source": pictures.source, **circumstances()})
    if claim(manifest, folder, overwrite):
        return folder
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng():
            _Run(pictures, folder, config, denoiser.to(device)).finish()
    except OSError as error:
        raise CreditlineError(
            f"Writing the run stopped: {error}. The last saved state is safe in {folder}; make "
            "room and run the same command again to continue."
        ) from error
    finally:
        torch.set_num_threads(before)
    replace(manifest, status="complete").write(folder)
    return folder


def learning_rate_at(config: TrainConfig, step: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    warm = int(config.warmup * config.steps)
    if step < warm:
        return config.learning_rate * step / warm
    progress = (step - warm) / max(1, config.steps - warm)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def _fresh(config: TrainConfig) -> UNetDenoiser:
    from diffusers import DDPMScheduler

    with torch.random.fork_rng():
        torch.manual_seed(_seed(config, "weights"))
        unet = config.unet.build()
    scheduler = DDPMScheduler(beta_schedule=config.beta_schedule, prediction_type=config.prediction)
    return UNetDenoiser(unet, DiscreteProcess.from_scheduler(scheduler))


def _seed(config: TrainConfig, *what: object) -> int:
    return int(key64(*what, config.seed)[0] >> np.uint64(1))


class _Run:
    """One run from wherever it stands to its end."""

    def __init__(
        self, images: ImageSet, folder: Path, config: TrainConfig, denoiser: UNetDenoiser
    ) -> None:
        self.images, self.folder, self.config, self.denoiser = images, folder, config, denoiser
        self.pixels = images.pixels()
        self.labels = (
            None
            if denoiser.n_classes is None
            else torch.tensor([int(x or 0) for x in images.labels])
        )
        optimizer = torch.optim.AdamW(
            denoiser.module.parameters(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
        )
        self.state = TrainState(denoiser.module, optimizer, config.ema)

    def finish(self) -> None:
        """Train to the last step and write the model."""
        config, state = self.config, self.state
        state.load(self.folder)
        saved, cost = time.monotonic(), 0.0
        with Progress("train", config.steps, "step", done=state.step) as bar:
            while state.step < config.steps:
                loss = self._step()
                bar.advance(1, loss=f"{loss:.4f}")
                step = state.step
                if config.checkpoint_every and step % config.checkpoint_every == 0:
                    self._write_model(self.folder / "checkpoints" / f"step-{step:06d}")
                if config.sample_every and step % config.sample_every == 0:
                    self._write_grid(step)
                # Large states take seconds to write: never more than a twentieth of the time.
                if time.monotonic() - saved > max(SAVE_SECONDS, 20 * cost):
                    started = time.monotonic()
                    state.save(self.folder)
                    saved, cost = time.monotonic(), time.monotonic() - started
        self._write_model(self.folder / "model")
        (self.folder / "state.safetensors").unlink(missing_ok=True)

    def _step(self) -> float:
        """One optimiser step; returns the loss before it."""
        config, state, denoiser = self.config, self.state, self.denoiser
        step, device = state.step, denoiser.device
        rows = self._rows(step)
        generator = torch.Generator().manual_seed(_seed(config, "noise", step))
        x0 = self.pixels[rows]
        if config.flip:
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        noise = torch.randn(x0.shape, generator=generator)
        t = torch.randint(denoiser.process.n_timesteps, (len(rows),), generator=generator)
        x0, noise, t = x0.to(device), noise.to(device), t.to(device)
        condition = {} if self.labels is None else {"class_labels": self.labels[rows].to(device)}

        torch.manual_seed(_seed(config, "dropout", step))
        denoiser.module.train()
        output = denoiser.predict(denoiser.process.add_noise(x0, noise, t), t, condition)
        loss = torch.nn.functional.mse_loss(output, denoiser.process.target(x0, noise, t))
        value = loss.item()
        rate = learning_rate_at(config, step)
        if not math.isfinite(value):
            raise NumericsError(
                f"The loss is {value} at step {step} with learning rate {rate:.2e}. The last good "
                f"state is in {self.folder}. Train with a lower learning rate into another folder."
            )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.module.parameters(), config.clip)
        state.optimizer.step()
        state.advance()
        with open(self.folder / "log.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps({"step": state.step, "loss": value, "rate": rate}) + "\n")
        return value

    def _rows(self, step: int) -> np.ndarray:
        """Images of a step: each epoch is a permutation of all, cut into batches."""
        n, size = len(self.images), self.config.batch_size
        per_epoch = -(-n // size)
        epoch, batch = divmod(step, per_epoch)
        philox = np.random.Philox(key=key64("order", self.config.seed, epoch))
        order = np.random.Generator(philox).permutation(n)
        return order[batch * size : (batch + 1) * size]

    def _averaged(self) -> UNetDenoiser:
        """The network that is saved and sampled from."""
        config = self.config
        unet = config.unet.build()
        weights = {**self.denoiser.module.state_dict(), **self.state.average}
        unet.load_state_dict({k: v.detach().clone() for k, v in weights.items()})
        return UNetDenoiser(unet, self.denoiser.process).to(self.denoiser.device)

    def _write_model(self, folder: Path) -> None:
        """Write a diffusers pipeline aside and move it into place."""
        from diffusers import DDPMPipeline, DDPMScheduler

        aside = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(aside, ignore_errors=True)
        scheduler = DDPMScheduler.from_config(self.denoiser.process.config)
        unet = self._averaged().module.cpu()
        DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(aside)
        step = self.state.step
        record = {"step": step, "learning_rate": learning_rate_at(self.config, step - 1)}
        (aside / RECORD).write_text(json.dumps(record) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(aside, folder)

    def _write_grid(self, step: int) -> None:
        classes = self.denoiser.n_classes
        labels = None if classes is None else [i % classes for i in range(GRID)]
        pictures, _ = sample(self._averaged(), list(range(GRID)), steps=25, labels=labels)
        path = self.folder / "samples" / f"step-{step:06d}.png"
        path.parent.mkdir(exist_ok=True)
        scale = max(1, 128 // self.config.unet.resolution)
        sheet(list(pictures), columns=4, scale=scale).save(path)
