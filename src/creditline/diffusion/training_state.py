"""The training state: everything that a run needs to continue, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from creditline.checksum import damaged
from creditline.stored_arrays import check_tensors, read_tensors, write_tensors

NAME = "state.safetensors"
ADVICE = "Delete it to train from the beginning, or name another --out."


class TrainingState:
    """Trained weights of a run, with their optimizer and averages.

    Args:
        module: the network; parameters without a gradient are not part of the state.
        optimizer: AdamW over its trained parameters.
        ema: decay of the averaged weights, 0 for none.
        scale: initial scale of the loss in the backward pass.

    Attributes:
        step: number of optimizer steps taken.
        is_consistent: whether no step is in progress, so that the state can be saved.
        trained: parameters by name.
        average: averaged parameters by name; empty without averaging.
        scale: scale of the loss in the backward pass; halved when a gradient overflows.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        optimizer: torch.optim.AdamW,
        ema: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.ema, self.scale = ema, scale
        self.step = 0
        self.is_consistent = True
        self.trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.trained.items()} if ema else {}

    @torch.no_grad()
    def advance(self) -> None:
        """Take an optimizer step and update the averages.

        The decay grows from 0.1 to its setting, so that early weights have little influence.
        """
        self.is_consistent = False
        self.optimizer.step()
        self.step += 1
        decay = min(self.ema, self.step / (9 + self.step))
        for name, parameter in self.trained.items():
            if name in self.average:
                self.average[name].lerp_(parameter, 1 - decay)
        self.is_consistent = True

    def is_finite(self) -> bool:
        """Whether every trained and averaged weight is a finite number."""
        weights = (*self.trained.values(), *self.average.values())
        return all(bool(torch.isfinite(weight).all()) for weight in weights)

    @contextmanager
    def use_average(self) -> Iterator[None]:
        """Give the network its averaged weights within the context, if there are any."""
        self.is_consistent = False  # an interruption must not save averages as weights
        self._swap()
        try:
            yield
        finally:
            self._swap()
            self.is_consistent = True

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.average.items():
            parameter = self.trained[name]
            weights = parameter.clone()
            parameter.copy_(value)
            value.copy_(weights)

    def save(self, folder: Path) -> None:
        """Replace the state file of a run, atomically."""
        tensors = {f"weights.{n}": p.detach() for n, p in self.trained.items()}
        tensors.update({f"average.{n}": value for n, value in self.average.items()})
        for name, parameter in self.trained.items():
            for key in ("exp_avg", "exp_avg_sq"):
                moments = self.optimizer.state.get(parameter)
                if moments:
                    tensors[f"{key}.{name}"] = moments[key]
        contiguous = {key: value.contiguous().cpu() for key, value in tensors.items()}
        metadata = {"step": str(self.step), "scale": str(self.scale)}
        write_tensors(folder / NAME, contiguous, save_file, metadata)

    @torch.no_grad()
    def load(self, folder: Path) -> bool:
        """Restore the saved state, if there is one.

        Returns:
            Whether there is one.

        Raises:
            DamageError: if the file is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            return False
        metadata = check_tensors(path, ADVICE)
        try:
            self._restore(read_tensors(path, load_file, ADVICE), int(metadata["step"]))
        except (KeyError, RuntimeError) as error:  # the state of another network
            raise damaged(path, ADVICE, str(error)) from error
        self.scale = float(metadata["scale"])
        return True

    def _restore(self, stored: Mapping[str, torch.Tensor], step: int) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(stored[f"weights.{name}"])
            if name in self.average:
                self.average[name].copy_(stored[f"average.{name}"])
            if f"exp_avg.{name}" in stored:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(
                        float(step)
                    ),  # AdamW counts on the CPU, whatever the device
                    "exp_avg": stored[f"exp_avg.{name}"].to(parameter.device),
                    "exp_avg_sq": stored[f"exp_avg_sq.{name}"].to(parameter.device),
                }
        self.step = step
