"""Training a small diffusion model, interruptible and repeatable to the bit."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.ddim import sample
from creditline.diffusion.denoiser import UNetDenoiser, check_labels, find_device
from creditline.diffusion.log import TrainLog
from creditline.diffusion.pipeline import save_pipeline
from creditline.diffusion.schedule import learning_rate_at
from creditline.diffusion.start import load_base, seed_for, starting_network
from creditline.diffusion.state import NAME as STATE
from creditline.diffusion.state import TrainState
from creditline.errors import CreditlineError, ModelError, NumericsError
from creditline.files import write_file
from creditline.fingerprint import key64
from creditline.manifest import Manifest, circumstances, claim
from creditline.progress import Progress
from creditline.report.sheet import sheet
from creditline.settings import require, to_dict

SAVE_SECONDS = 30.0
SAVE_SHARE = 20.0  # large states take seconds to write: at most a twentieth of the time
GRID = 16


def train(
    images: Any,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    base: Any = None,
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
        base: a trained model of the same network, anything that `load_model` takes, to start from
            instead of fresh weights.
        device: where to train.
        threads: CPU threads; torch's own choice by default.
        overwrite: replace a run with other settings.

    Returns:
        The run folder, which `load_model` takes.

    Raises:
        ModelError: if the images or the base do not fit the network, or there is no such device.
        NumericsError: if the loss is not finite; the last good state is kept.
        CreditlineError: if `out` is taken, or the disk is full.
    """
    config, pictures, folder = config or TrainConfig(), load_images(images), Path(out)
    check_images(pictures, config)
    require(threads is None or threads >= 1, "threads must be at least 1", threads, "Try 1.")
    place = find_device(device)
    request = {
        "config": to_dict(config),
        "images": {"fingerprint": pictures.fingerprint, "n": len(pictures)},
    }
    facts = {"data_source": pictures.source, **circumstances()}
    start = None if base is None else load_base(base, config)
    if start is not None:  # runs from fresh weights have no such entry
        request["base"] = {"fingerprint": start.fingerprint}
        facts["base_source"] = start.source
    manifest = Manifest("run", request, facts)
    if not claim(manifest, folder, overwrite):
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            with torch.random.fork_rng([place] if place.type == "cuda" else []):
                network = starting_network(config, start).to(place)
                _Run(pictures, folder, config, network).finish()
            replace(manifest, status="complete").write(folder)
        except (OSError, SafetensorError) as error:
            raise CreditlineError(
                f"Writing the run stopped: {error}. The last saved state is safe in {folder}; make "
                "room and run the same command again to continue."
            ) from error
        finally:
            torch.set_num_threads(before)
    # Only now: without it, a run that is not marked complete would start from the beginning.
    (folder / STATE).unlink(missing_ok=True)
    return folder


def check_images(images: ImageSet, config: TrainConfig) -> None:
    """Refuse images that do not fit the network that the settings train.

    Raises:
        ModelError: if their size is another, or the network's classes are not theirs.
    """
    size, (height, width) = config.unet.resolution, images.shape[1:]
    if (height, width) != (size, size):
        raise ModelError(
            f"The settings train a network for pictures of {size}x{size} pixels; the images have "
            f"{width}x{height}. Load them with size={size} (--size {size}), or choose settings "
            "with the images' resolution."
        )
    if config.unet.classes:
        check_labels(images.labels, config.unet.classes)


class _Run:
    """One run from wherever it stands to its end."""

    def __init__(
        self, images: ImageSet, folder: Path, config: TrainConfig, denoiser: UNetDenoiser
    ) -> None:
        self.images, self.folder, self.config, self.denoiser = images, folder, config, denoiser
        self.labels = None if denoiser.n_classes is None else torch.tensor(images.labels)
        self.log = TrainLog(folder)
        optimizer = torch.optim.AdamW(
            denoiser.module.parameters(),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,  # a tenth of a small network's step otherwise goes here
        )
        self.state = TrainState(denoiser.module, optimizer, config.ema)

    def finish(self) -> None:
        """Train to the last step and write the model."""
        state, steps = self.state, self.config.steps
        state.load(self.folder)
        self.log.rewind(state.step)
        saved, cost = time.monotonic(), 0.0
        try:
            with Progress("train", steps, "step", done=state.step) as bar:
                self._write_due()
                while state.step < steps:
                    loss = self._step()
                    bar.advance(1, loss=f"{loss:.4f}")
                    self._write_due()
                    if time.monotonic() - saved > max(SAVE_SECONDS, SAVE_SHARE * cost):
                        started = time.monotonic()
                        state.save(self.folder)
                        saved, cost = time.monotonic(), time.monotonic() - started
        except (KeyboardInterrupt, CreditlineError):
            if state.whole:
                state.save(self.folder)
            raise
        self._write_model(self.folder / "model")

    def _step(self) -> float:
        """One optimiser step; returns the loss before it."""
        config, state, denoiser = self.config, self.state, self.denoiser
        step, device = state.step, denoiser.device
        rows = self._rows(step)
        # All randomness but dropout's is drawn on the CPU: it is the same whatever the device.
        generator = torch.Generator().manual_seed(seed_for(config, "noise", step))
        x0 = self.images.pixels(rows)
        if config.flip:
            mirrored = torch.rand(len(rows), generator=generator) < 0.5
            x0 = torch.where(mirrored[:, None, None, None], x0.flip(-1), x0)
        noise = torch.randn(x0.shape, generator=generator)
        t = self._timesteps(len(rows), generator)
        x0, noise, t = x0.to(device), noise.to(device), t.to(device)
        condition = {} if self.labels is None else {"class_labels": self.labels[rows].to(device)}

        torch.manual_seed(seed_for(config, "dropout", step))
        denoiser.module.train()
        output = denoiser.predict(denoiser.process.add_noise(x0, noise, t), t, condition)
        loss = torch.nn.functional.mse_loss(output, denoiser.process.target(x0, noise, t))
        state.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(denoiser.module.parameters(), config.clip)
        # The device is waited for once a step, here, so that no update is made of numbers that
        # are not finite.
        value, rate = loss.item(), learning_rate_at(config, step)
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise NumericsError(
                f"At step {step} the loss is {value} and its gradient's norm {float(norm)}, with "
                f"learning rate {rate:.2e}. The last good state is in {self.folder}. Train with a "
                "lower learning rate into another folder."
            )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.log.append(step + 1, value, rate)
        state.advance()
        return value

    def _timesteps(self, n: int, generator: torch.Generator) -> torch.Tensor:
        last = self.denoiser.process.n_timesteps
        if not self.config.stratified:
            return torch.randint(last, (n,), generator=generator)
        place = torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)
        return (place / n * last).long().clamp(max=last - 1)

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
        with torch.device("meta"):
            unet = self.config.unet.build()
        weights = {**self.denoiser.module.state_dict(), **self.state.average}
        unet.load_state_dict({k: v.detach().clone() for k, v in weights.items()}, assign=True)
        return UNetDenoiser(unet, self.denoiser.process)

    def _write_due(self) -> None:
        """Write what belongs to the current step, unless it was written before an interruption."""
        config, step = self.config, self.state.step
        if step and config.checkpoint_every and step % config.checkpoint_every == 0:
            self._write_model(self.folder / "checkpoints" / f"step-{step:06d}")
        if step and config.sample_every and step % config.sample_every == 0:
            self._write_grid(self.folder / "samples" / f"step-{step:06d}.png")

    def _write_model(self, folder: Path) -> None:
        if not folder.exists():
            step = self.state.step
            record = {"step": step, "learning_rate": learning_rate_at(self.config, step - 1)}
            save_pipeline(self._averaged(), folder, record, aside=self.folder)

    def _write_grid(self, path: Path) -> None:
        if path.exists():
            return
        classes = self.denoiser.n_classes
        labels = None if classes is None else [i % classes for i in range(GRID)]
        pictures, _ = sample(self._averaged(), range(GRID), steps=25, labels=labels)
        scale = max(1, 128 // self.config.unet.resolution)
        grid = sheet(list(pictures), columns=4, scale=scale)
        write_file(path, lambda draft: grid.save(draft))
