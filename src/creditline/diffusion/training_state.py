"""Training state: everything a run needs to go on exactly where it was, in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from creditline.errors import CreditlineError
from creditline.files import write_file

NAME = "state.safetensors"


class TrainState:
    """Trained weights, their optimizer and averages of a run.

    Args:
        module: the network; what requires no gradient is not trained and no part of the state.
        optimizer: AdamW over its trained parameters.
        ema: decay of the averaged weights, 0 for none.
        scale: of the loss on the way back, to begin with.

    Attributes:
        step: optimizer steps done.
        whole: whether no step is half taken, so that the state can be saved.
        trained: parameters by name.
        average: averaged parameters by name; empty without averaging.
        scale: of the loss on the way back; halved when a gradient overflows.
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
        self.whole = True
        self.trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.average = {n: p.detach().clone() for n, p in self.trained.items()} if ema else {}

    @torch.no_grad()
    def advance(self) -> None:
        """Take the optimizer's step, count it and fold the new weights into the average.

        The decay grows from 0.1 towards its setting, so that early weights are forgotten soon.
        """
        self.whole = False
        self.optimizer.step()
        self.step += 1
        decay = min(self.ema, self.step / (9 + self.step))
        for name, parameter in self.trained.items():
            if name in self.average:
                self.average[name].lerp_(parameter, 1 - decay)
        self.whole = True

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Meanwhile the network has its averaged weights, where there are any."""
        self.whole = False  # an interruption must not save one kind of weights as the other
        self._swap()
        try:
            yield
        finally:
            self._swap()
            self.whole = True

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.average.items():
            parameter = self.trained[name]
            kept = parameter.clone()
            parameter.copy_(value)
            value.copy_(kept)

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
        write_file(
            folder / NAME, lambda path: save_file(contiguous, path, metadata), overwrite=True
        )

    @torch.no_grad()
    def load(self, folder: Path) -> bool:
        """Go back to the saved state, if there is one.

        Returns:
            Whether there was one.

        Raises:
            CreditlineError: if the file is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            return False
        try:
            with safe_open(path, "pt") as file:
                step = int(file.metadata()["step"])
                scale = float(file.metadata().get("scale", self.scale))
                stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            self._restore(stored, step)
            self.scale = scale
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CreditlineError(
                f"The training state {path} is damaged ({error}). Delete it to train from the "
                "beginning, or name another --out."
            ) from error
        return True

    def _restore(self, stored: Mapping[str, torch.Tensor], step: int) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(stored[f"weights.{name}"])
            if name in self.average:
                self.average[name].copy_(stored[f"average.{name}"])
            if f"exp_avg.{name}" in stored:
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(step)),  # AdamW counts on the CPU, whatever device
                    "exp_avg": stored[f"exp_avg.{name}"].to(parameter.device),
                    "exp_avg_sq": stored[f"exp_avg_sq.{name}"].to(parameter.device),
                }
        self.step = step
