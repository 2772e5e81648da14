"""Diffusion processes: noising, training targets and weights, independent of the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.config import BetaSchedule, DiscretePrediction
from creditline.diffusion.scheduler_steps import require_steps
from creditline.errors import ModelError, NumericsError

Prediction = DiscretePrediction | Literal["flow"]


class Process(Protocol):
    """A noising process `x_t = a_t x_0 + s_t eps` and the target of its network.

    Samples have shape `(b, ...)` with any number of dimensions, timesteps are int64 of shape
    `(b,)`.

    Attributes:
        n_timesteps: number of timesteps T.
        prediction: target of the network.
        scheduler_class: class of the diffusers scheduler.
        config: config of the diffusers scheduler, from which samplers are made.
    """

    n_timesteps: int
    prediction: Prediction
    scheduler_class: str
    config: dict[str, Any]

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return `a_t` and `s_t`, float64 of shape `(b,)`."""

    def network_time(self, t: Tensor) -> Tensor:
        """Return the network's time input: the timestep, or a noise level times `T`."""

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return `x_t`, in the type of `x0`."""

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return the training target of the network's output."""

    def to_epsilon(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the noise that a network output implies.

        Raises:
            NumericsError: if it implies none: a predicted image at a timestep without noise.
        """

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the clean sample that a network output implies.

        Raises:
            NumericsError: if it implies none: predicted noise at a timestep without signal.
        """

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Return the weight of the squared noise error in the variational bound.

        Returns:
            float64 of shape `(b,)`.

        Raises:
            NumericsError: at timesteps without signal or noise, where the weight is infinite.
        """

    def to_dict(self) -> dict[str, Any]:
        """Return the description that manifests and fingerprints use."""


class DiscreteProcess:
    """A process of `T` discrete timesteps with given betas (DDPM and its relatives).

    Args:
        betas: noise variances, float64 of shape `(T,)`.
        prediction: target of the network.
        config: config of its diffusers scheduler; by default, one with these betas.

    Raises:
        ModelError: on an unknown prediction type or betas outside `[0, 1]`.
    """

    scheduler_class = "DDPMScheduler"

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
        """Create the process of a diffusers scheduler with discrete betas (DDPM, DDIM, PNDM, ...).

        Args:
            scheduler: a scheduler, or its config as a mapping; without a class name, DDPM's.

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
        # The network was trained on the float32 table; only arithmetic on it is in float64.
        betas = scheduler.betas.double().cpu().numpy()
        config = dict(scheduler.config)
        known = config.get("beta_schedule") in get_args(BetaSchedule)
        if not known and config.get("trained_betas") is None:
            # Samplers refuse unknown schedule names, but take any list of betas.
            explicit = {"trained_betas": betas.tolist(), "rescale_betas_zero_snr": False}
            defaults = [k for k in config.get("_use_default_values", []) if k not in explicit]
            config |= {**explicit, "_use_default_values": defaults}
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
        """Return `beta_t^2 / (2 sigma_t^2 alpha_t (1 - abar_t))` with `sigma_t^2 = beta_t`.

        It weighs the squared error of the noise (DDPM, eq. 12). If the network has another target,
        that is the noise which its output implies (`to_epsilon`).

        Raises:
            NumericsError: at a timestep without signal or noise, where the weight is infinite.
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
            # Six digits of every beta: different schedules can share their ends, and the last
            # bits of diffusers' float32 tables may differ between machines.
            "schedule": fingerprint.of_json([f"{beta:.5e}" for beta in self.betas.tolist()]),
        }

    @staticmethod
    def _refuse(where: Tensor, t: Tensor, what: str) -> None:
        if bool(where.any()):
            step = int(t.cpu()[where.flatten().cpu()][0])
            raise NumericsError(f"Timestep {step} has {what}. Leave this timestep out.")

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return `a_t` and `s_t` in the type of `like`, shaped to broadcast against it."""
        shape = (-1, *[1] * (like.ndim - 1))
        a, s = (scale.to(like.dtype) for scale in self.signal_noise(t.cpu()))
        # Rounded before they move: some devices have no float64.
        return a.to(like.device).view(shape), s.to(like.device).view(shape)


def timestep_index(t: Tensor, n_timesteps: int) -> Tensor:
    """Convert timesteps to positions in the tables, which are on the CPU.

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
    """Create the scheduler of a config; without a class name, it is DDPM's."""
    import diffusers

    require_steps(config, "The scheduler's config")
    name = str(config.get("_class_name", "DDPMScheduler"))
    kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if kind is None:
        raise ModelError(f"The scheduler's config names the class {name}, which is not known.")
    try:
        return kind.from_config(dict(config))
    except (NotImplementedError, ValueError, TypeError) as error:
        raise ModelError(f"The scheduler's config cannot be used: {error}") from error
