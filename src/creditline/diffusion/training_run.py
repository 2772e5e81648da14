"""The loop of every training, interruptible and repeatable to the bit."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from creditline.data.contact_sheet import contact_sheet
from creditline.diffusion.config import RunSettings
from creditline.diffusion.ddim import sample
from creditline.diffusion.initialization import seed_for
from creditline.diffusion.learning_rate import learning_rate_at
from creditline.diffusion.precision import SCALE, autocast
from creditline.diffusion.training_log import TrainLog
from creditline.diffusion.training_state import TrainState
from creditline.diffusion.training_task import TrainingTask
from creditline.errors import CreditlineError, NumericsError
from creditline.files import write_file
from creditline.fingerprint import key64
from creditline.runtime import Runtime

SAVE_SECONDS = 30.0
SAVE_SHARE = 20.0  # large states take seconds to write: at most a twentieth of the time
GRID = 16


class TrainingRun:
    """One run from wherever it stands to its end.

    Args:
        trainee: what is trained.
        folder: of the run; exists.
        config: steps, optimizer, and what is saved.
        runtime: shows progress.
    """

    def __init__(
        self, trainee: TrainingTask, folder: Path, config: RunSettings, runtime: Runtime
    ) -> None:
        self.trainee, self.folder, self.config = trainee, folder, config
        self.runtime = runtime
        self.log = TrainLog(folder)
        module = trainee.denoiser.module
        self.trained = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.trained,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,  # a tenth of a small network's step otherwise goes here
        )
        self.state = TrainState(module, optimizer, config.ema, SCALE[trainee.precision])

    def finish(self) -> None:
        """Train to the last step and write the model."""
        state, steps = self.state, self.config.steps
        state.load(self.folder)
        self.log.rewind(state.step)
        saved, cost = time.monotonic(), 0.0
        try:
            with self.runtime.progress("train", steps, "step", done=state.step) as bar:
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
        """One optimizer step; returns the loss before it."""
        config, state = self.config, self.state
        step = state.step
        rows = self._rows(step)
        # All randomness but dropout's is drawn on the CPU: it is the same whatever the device.
        generator = torch.Generator().manual_seed(seed_for(config, "noise", step))
        x0, condition = self.trainee.batch(rows, generator)
        noise = torch.randn(x0.shape, generator=generator)
        t = self._timesteps(len(rows), generator)

        value, norm = self._gradient(x0, noise, t, condition)
        while math.isfinite(value) and not math.isfinite(norm) and state.scale > 1:
            state.scale /= 2  # too large for half precision: the same step, with less of it
            value, norm = self._gradient(x0, noise, t, condition)
        rate = learning_rate_at(config, step)
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise NumericsError(
                f"At step {step} the loss is {value} and its gradient's norm {norm}, with "
                f"learning rate {rate:.2e}. The last good state is in {self.folder}. Train with a "
                "lower learning rate into another folder."
            )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.log.append(step + 1, value, rate)
        state.advance()
        return value

    def _gradient(
        self, x0: Tensor, noise: Tensor, t: Tensor, condition: dict[str, Tensor]
    ) -> tuple[float, float]:
        """The batch's loss, and the norm that its gradient had before it was clipped."""
        torch.manual_seed(seed_for(self.config, "dropout", self.state.step))
        self.trainee.set_mode()
        self.state.optimizer.zero_grad()
        loss = self._backward(x0, noise, t, condition)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.config.clip)
        # The device is waited for once a step, here, so that no update is made of numbers that
        # are not finite.
        return loss.item(), float(norm)

    def _backward(
        self, x0: Tensor, noise: Tensor, t: Tensor, condition: dict[str, Tensor]
    ) -> Tensor:
        """Add up the gradient of the batch's mean loss, part by part; returns the loss."""
        denoiser, precision = self.trainee.denoiser, self.trainee.precision
        process, device, dtype = denoiser.process, denoiser.device, denoiser.dtype
        scale, total = self.state.scale, torch.zeros((), device=device)
        for part in torch.arange(len(t)).chunk(self.trainee.parts):
            clean, added, when = x0[part].to(device), noise[part].to(device), t[part].to(device)
            given = {name: value[part].to(device) for name, value in condition.items()}
            noised = process.add_noise(clean, added, when).to(dtype)
            with autocast(precision, device):
                output = denoiser.predict(noised, when, given)
            loss = mse_loss(output.float(), process.target(clean, added, when))
            share = len(part) / len(t)
            (loss * (share * scale)).backward()
            total += loss.detach() * share
        if scale != 1:
            for parameter in self.trained:
                if parameter.grad is not None:
                    parameter.grad /= scale
        return total

    def _timesteps(self, n: int, generator: torch.Generator) -> Tensor:
        last = self.trainee.denoiser.process.n_timesteps
        if not self.config.stratified:
            return torch.randint(last, (n,), generator=generator)
        place = torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)
        return (place / n * last).long().clamp(max=last - 1)

    def _rows(self, step: int) -> np.ndarray:
        """Images of a step: each epoch is a permutation of all, cut into batches."""
        n, size = len(self.trainee.images), self.config.batch_size
        per_epoch = -(-n // size)
        epoch, batch = divmod(step, per_epoch)
        philox = np.random.Philox(key=key64("order", self.config.seed, epoch))
        order = np.random.Generator(philox).permutation(n)
        return order[batch * size : (batch + 1) * size]

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
            with self.state.averaged():
                self.trainee.save(folder, record, aside=self.folder)

    def _write_grid(self, path: Path) -> None:
        if path.exists():
            return
        denoiser = self.trainee.denoiser
        denoiser.module.eval()
        with self.state.averaged():
            pictures, _ = sample(denoiser, range(GRID), steps=25, **self.trainee.shown(GRID))
        scale = max(1, 128 // denoiser.image_shape[1])
        grid = contact_sheet(list(pictures), columns=4, scale=scale)
        write_file(path, lambda draft: grid.save(draft))
