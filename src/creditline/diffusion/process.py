"""Diffusion processes: noising, training targets and weights, knowing nothing of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.config import BetaSchedule, DiscretePrediction
from creditline.errors import ModelError, NumericsError

Prediction = DiscretePrediction | Literal["flow"]


class Process(Protocol):
    """A noising process `x_t = a_t x_0 + s_t eps` and what its network predicts.

    Tensors of images have shape `(b, ...)`, timesteps are int64 of shape `(b,)`.
    """

    n_timesteps: int
    prediction: Prediction
    config: dict[str, Any]  # of the diffusers scheduler that samplers are made from

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`a_t` and `s_t`, float64 of shape `(b,)`."""

    def network_time(self, t: Tensor) -> Tensor:
        """What the network is told of the timestep: itself, or a noise level times `T`."""

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`x_t`, in the type of `x0`."""

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to output."""

    def to_epsilon(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that a network output implies.

        Raises:
            NumericsError: where it implies none: a predicted image at a timestep without noise.
        """

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean image that a network output implies.

        Raises:
            NumericsError: where it implies none: predicted noise at a timestep without signal.
        """

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Weight of the squared noise error in the variational bound, float64 of shape `(b,)`.

        Raises:
            NumericsError: at timesteps without signal or without noise, where it is not finite.
        """

    def to_dict(self) -> dict[str, Any]:
        """What is recorded of it."""


class DiscreteProcess:
    """A process of `T` discrete timesteps given by its betas (DDPM and everything trained alike).

    Args:
        betas: noise variances, float64 of shape `(T,)`.
        prediction: what the network outputs.
        config: of the scheduler it came from, which samplers are made from; one with these betas
            by default.

    Raises:
        ModelError: on an unknown prediction type or betas outside `[0, 1]`.
    """

    def __init__(
        self,
        betas: np.ndarray,
        prediction: Prediction = "epsilon",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        known = get_args(DiscretePrediction)
        if prediction not in known:
            raise ModelError(
                f"Prediction type {prediction!r} is not known. Known: {', '.join(known)}."
            )
        betas = np.asarray(betas, dtype=np.float64)
        if betas.ndim != 1 or not ((betas >= 0) & (betas <= 1)).all():
            raise ModelError("Betas must be one list of numbers between 0 and 1.")
        self.prediction: Prediction = prediction
        self.config = dict(
            config
            or {
                "num_train_timesteps": len(betas),
                "trained_betas": betas.tolist(),
                "prediction_type": prediction,
            }
        )
        self.n_timesteps = len(betas)
        self.betas = torch.from_numpy(betas)
        self.alphas_cumprod = torch.from_numpy(np.cumprod(1.0 - betas))

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> DiscreteProcess:
        """The process behind a diffusers scheduler with discrete betas (DDPM, DDIM, PNDM, ...).

        Args:
            scheduler: a scheduler, or its config as a mapping (DDPM's where it names no class).

        Raises:
            ModelError: if it has no betas, its config cannot be used, or its prediction type is
                unknown.
        """
        if isinstance(scheduler, Mapping):
            scheduler = scheduler_from(scheduler)
        if not hasattr(scheduler, "betas"):
            raise ModelError(
                f"{type(scheduler).__name__} has no betas, so its noising process is not known. "
                "Use the DDPM or DDIM scheduler that the model was trained with."
            )
        # float32 tables of diffusers are the model's truth; only arithmetic on them is in float64.
        betas = scheduler.betas.double().cpu().numpy()
        config = dict(scheduler.config)
        known = config.get("beta_schedule") in get_args(BetaSchedule)
        if not known and config.get("trained_betas") is None:
            # Samplers refuse names they do not know, but take any list of betas.
            given = {"trained_betas": betas.tolist(), "rescale_betas_zero_snr": False}
            defaults = [k for k in config.get("_use_default_values", []) if k not in given]
            config |= {**given, "_use_default_values": defaults}
        return cls(betas, config.get("prediction_type", "epsilon"), config)

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        abar = self.alphas_cumprod[timestep_index(t, self.n_timesteps)].to(t.device)
        return abar.sqrt(), (1.0 - abar).sqrt()

    def network_time(self, t: Tensor) -> Tensor:
        return t

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        a, s = self._scales(t, x0)
        return a * x0 + s * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return x0
        a, s = self._scales(t, x0)
        return a * noise - s * x0

    def to_epsilon(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return output
        a, s = self._scales(t, output)
        if self.prediction == "v_prediction":
            return a * output + s * x_t
        self._refuse(s == 0, t, "no noise, so the noise that a predicted image implies is unknown")
        return (x_t - a * output) / s

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "sample":
            return output
        a, s = self._scales(t, output)
        if self.prediction == "v_prediction":
            return a * x_t - s * output
        self._refuse(a == 0, t, "no signal, so the image that predicted noise implies is unknown")
        return (x_t - s * output) / a

    def elbo_weight(self, t: Tensor) -> Tensor:
        """`beta_t^2 / (2 sigma_t^2 alpha_t (1 - abar_t))`, `sigma_t^2 = beta_t` (DDPM, eq. 12).

        It weighs the squared error of the noise; networks with another prediction are weighed
        by the noise that their output implies (`to_epsilon`).

        Raises:
            NumericsError: at a timestep without signal or without noise, where it is infinite.
        """
        index = timestep_index(t, self.n_timesteps)
        beta, abar = self.betas[index], self.alphas_cumprod[index]
        self._refuse((beta == 1) | (abar == 1), t, "an infinite weight in the variational bound")
        return (beta / (2.0 * (1.0 - beta) * (1.0 - abar))).to(t.device)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "discrete",
            "n_timesteps": self.n_timesteps,
            "prediction": self.prediction,
            "betas": [float(self.betas[0]), float(self.betas[-1])],
            # Six digits of every beta: schedules of other shape share their ends, and the last
            # bits of diffusers' float32 tables need not be the same on every machine.
            "schedule": fingerprint.of_json([f"{beta:.5e}" for beta in self.betas.tolist()]),
        }

    @staticmethod
    def _refuse(where: Tensor, t: Tensor, what: str) -> None:
        if bool(where.any()):
            step = int(t.cpu()[where.flatten().cpu()][0])
            raise NumericsError(f"Timestep {step} has {what}. Leave this timestep out.")

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """`a_t` and `s_t` in the type of `like`, shaped to multiply it."""
        shape = (-1, *[1] * (like.ndim - 1))
        a, s = (scale.to(like.dtype) for scale in self.signal_noise(t.cpu()))
        # Rounded before they move: some devices have no float64.
        return a.to(like.device).view(shape), s.to(like.device).view(shape)


def timestep_index(t: Tensor, n_timesteps: int) -> Tensor:
    """Timesteps as positions in tables that are kept on the CPU.

    Raises:
        ModelError: if one lies outside `0 .. n_timesteps - 1`.
    """
    index = t.cpu()
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < n_timesteps:
        raise ModelError(
            f"Timesteps run from 0 to {n_timesteps - 1}; got {int(index.min())} to "
            f"{int(index.max())}."
        )
    return index


def scheduler_from(config: Mapping[str, Any]) -> Any:
    """The scheduler that a config describes; one that names no class is DDPM's."""
    import diffusers

    name = str(config.get("_class_name", "DDPMScheduler"))
    kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if kind is None:
        raise ModelError(f"The scheduler's config names the class {name}, which is not known.")
    try:
        return kind.from_config(dict(config))
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ModelError(f"The scheduler's config cannot be used: {error}") from error
