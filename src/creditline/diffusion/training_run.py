"""The training loop: resumable and bitwise deterministic."""

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
from creditline.diffusion.learning_rate import learning_rate_at
from creditline.diffusion.precision import SCALE, autocast
from creditline.diffusion.sampling import sample
from creditline.diffusion.seeds import seed_for
from creditline.diffusion.training_log import TrainingLog
from creditline.diffusion.training_state import TrainingState
from creditline.diffusion.training_task import TrainingTask
from creditline.errors import CreditlineError, NumericsError
from creditline.files import write_file
from creditline.fingerprint import key64
from creditline.runtime import Runtime

SAVE_SECONDS = 30.0
SAVE_SHARE = 20.0  # saving takes at most a twentieth of the time, even for large states
GRID = 16


class TrainingRun:
    """One training run, from its last saved state to its end.

    Args:
        task: what is trained.
        folder: folder of the run; exists.
        config: settings of steps, optimizer and checkpoints.
        runtime: shows progress.
    """

    def __init__(
        self, task: TrainingTask, folder: Path, config: RunSettings, runtime: Runtime
    ) -> None:
        self.task, self.folder, self.config = task, folder, config
        self.runtime = runtime
        self.log = TrainingLog(folder)
        module = task.denoiser.module
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,  # unfused, it takes a tenth of a small network's step
        )
        self.state = TrainingState(module, optimizer, config.ema, SCALE[task.precision])

    def finish(self) -> None:
        """Train to the last step and write the model."""
        state, steps = self.state, self.config.steps
        state.load(self.folder)
        self.log.rewind(state.step)
        saved_at, cost = time.monotonic(), 0.0
        try:
            with self.runtime.progress("train", steps, "step", done=state.step) as bar:
                self._write_due()
                while state.step < steps:
                    loss = self._step()
                    bar.advance(1, loss=f"{loss:.4f}")
                    self._write_due()
                    if time.monotonic() - saved_at > max(SAVE_SECONDS, SAVE_SHARE * cost):
                        started = time.monotonic()
                        self._save()
                        saved_at, cost = time.monotonic(), time.monotonic() - started
        except (KeyboardInterrupt, CreditlineError):
            if state.is_consistent and state.is_finite():
                self._save()
            raise
        self.log.flush()
        self._write_model(self.folder / "model")

    def _save(self) -> None:
        """Save the state, and before it the log of its steps."""
        self.log.flush()
        self.state.save(self.folder)

    def _step(self) -> float:
        """Take one optimizer step and return the loss before it."""
        config, state = self.config, self.state
        step = state.step
        rows = self._rows(step)
        # All randomness except dropout's is drawn on the CPU, so it does not depend on the device.
        generator = torch.Generator().manual_seed(seed_for(config, "noise", step))
        x0, condition = self.task.batch(rows, generator)
        noise = torch.randn(x0.shape, generator=generator)
        t = self._draw_timesteps(len(rows), generator)

        loss, norm = self._compute_gradient(x0, noise, t, condition)
        while math.isfinite(loss) and not math.isfinite(norm) and state.scale > 1:
            state.scale /= 2  # the gradient overflowed: repeat the step with a smaller scale
            loss, norm = self._compute_gradient(x0, noise, t, condition)
        rate = learning_rate_at(config, step)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NumericsError(
                f"At step {step} the loss is {loss} and its gradient's norm {norm}, with "
                f"learning rate {rate:.2e}. The last good state is in {self.folder}. Train with a "
                "lower learning rate into another folder."
            )
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        self.log.append(step + 1, loss, rate)
        state.advance()
        return loss

    def _compute_gradient(
        self, x0: Tensor, noise: Tensor, t: Tensor, condition: dict[str, Tensor]
    ) -> tuple[float, float]:
        """Return the batch's loss and its gradient's norm before clipping."""
        torch.manual_seed(seed_for(self.config, "dropout", self.state.step))
        self.task.set_mode()
        self.state.optimizer.zero_grad()
        loss = self._backward(x0, noise, t, condition)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        # The only synchronization with the device in a step: no update may use numbers that are
        # not finite.
        return loss.item(), float(norm)

    def _backward(
        self, x0: Tensor, noise: Tensor, t: Tensor, condition: dict[str, Tensor]
    ) -> Tensor:
        """Accumulate the gradient of the batch's mean loss over passes; return the loss."""
        denoiser, precision = self.task.denoiser, self.task.precision
        process, device, dtype = denoiser.process, denoiser.device, denoiser.dtype
        scale, total = self.state.scale, torch.zeros((), device=device)
        for rows in torch.arange(len(t)).chunk(self.task.backward_passes):
            clean, epsilon, steps = x0[rows].to(device), noise[rows].to(device), t[rows].to(device)
            inputs = {name: value[rows].to(device) for name, value in condition.items()}
            noised = process.add_noise(clean, epsilon, steps).to(dtype)
            with autocast(precision, device):
                output = denoiser.predict(noised, steps, inputs)
            loss = mse_loss(output.float(), process.target(clean, epsilon, steps))
            share = len(rows) / len(t)
            (loss * (share * scale)).backward()
            total += loss.detach() * share
        if scale != 1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad /= scale
        return total

    def _draw_timesteps(self, n: int, generator: torch.Generator) -> Tensor:
        n_timesteps = self.task.denoiser.process.n_timesteps
        if not self.config.stratified:
            return torch.randint(n_timesteps, (n,), generator=generator)
        position = torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)
        return (position / n * n_timesteps).long().clamp(max=n_timesteps - 1)

    def _rows(self, step: int) -> np.ndarray:
        """Return the images of a step: each epoch is a permutation of all, cut into batches."""
        n, size = len(self.task.images), self.config.batch_size
        per_epoch = -(-n // size)
        epoch, batch = divmod(step, per_epoch)
        philox = np.random.Philox(key=key64("order", self.config.seed, epoch))
        order = np.random.Generator(philox).permutation(n)
        return order[batch * size : (batch + 1) * size]

    def _write_due(self) -> None:
        """Write the current step's checkpoint and samples, unless they exist already."""
        config, step = self.config, self.state.step
        if step and config.checkpoint_every and step % config.checkpoint_every == 0:
            self._write_model(self.folder / "checkpoints" / f"step-{step:06d}")
        if step and config.sample_every and step % config.sample_every == 0:
            self._write_grid(self.folder / "samples" / f"step-{step:06d}.png")

    def _write_model(self, folder: Path) -> None:
        if not folder.exists():
            step = self.state.step
            if not self.state.is_finite():
                raise NumericsError(
                    f"After step {step} a weight is not finite, with learning rate "
                    f"{learning_rate_at(self.config, step - 1):.2e}, so no model is written to "
                    f"{folder}. Train with a lower learning rate into another folder."
                )
            record = {"step": step, "learning_rate": learning_rate_at(self.config, step - 1)}
            with self.state.use_average():
                self.task.save(folder, record, aside=self.folder)

    def _write_grid(self, path: Path) -> None:
        if path.exists():
            return
        denoiser = self.task.denoiser
        denoiser.module.eval()
        with self.state.use_average():
            conditions = self.task.sample_conditions(GRID)
            images, _ = sample(denoiser, range(GRID), steps=25, **conditions)
        scale = max(1, 128 // denoiser.image_shape[1])
        grid = contact_sheet(list(images), columns=4, scale=scale)
        write_file(path, lambda draft: grid.save(draft))
