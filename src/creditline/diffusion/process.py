"""Diffusion processes: noising, training targets and weights, knowing nothing of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from creditline.errors import ModelError

Prediction = Literal["epsilon", "v_prediction", "sample"]
PREDICTIONS = ("epsilon", "v_prediction", "sample")


class Process(Protocol):
    """A noising process `x_t = a_t x_0 + s_t eps` and what its network predicts.

    Tensors of images have shape `(b, ...)`, timesteps are int64 of shape `(b,)`.
    """

    n_timesteps: int
    prediction: Prediction
    config: dict[str, Any]  # of the diffusers scheduler that samplers are made from

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """`a_t` and `s_t`, float64 of shape `(b,)`."""

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`x_t`, in the type of `x0`."""

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is trained to output."""

    def to_epsilon(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that a network output implies."""

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean image that a network output implies."""

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Weight of the squared noise error in the variational bound, float64 of shape `(b,)`."""

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
        if prediction not in PREDICTIONS:
            raise ModelError(
                f"Prediction type {prediction!r} is not known. Known: {', '.join(PREDICTIONS)}."
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
            scheduler: a scheduler, or its config as a mapping.

        Raises:
            ModelError: if it has no betas or an unknown prediction type.
        """
        if isinstance(scheduler, Mapping):
            from diffusers import DDPMScheduler

            scheduler = DDPMScheduler.from_config(dict(scheduler))
        if not hasattr(scheduler, "betas"):
            raise ModelError(
                f"{type(scheduler).__name__} has no betas, so its noising process is not known. "
                "Use the DDPM or DDIM scheduler that the model was trained with."
            )
        # float32 tables of diffusers are the model's truth; only arithmetic on them is in float64.
        return cls(
            scheduler.betas.double().cpu().numpy(),
            scheduler.config.get("prediction_type", "epsilon"),
            scheduler.config,
        )

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        abar = self.alphas_cumprod[t.cpu()].to(t.device)
        return abar.sqrt(), (1.0 - abar).sqrt()

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
        return (x_t - a * output) / s

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        if self.prediction == "sample":
            return output
        a, s = self._scales(t, output)
        if self.prediction == "v_prediction":
            return a * x_t - s * output
        return (x_t - s * output) / a

    def elbo_weight(self, t: Tensor) -> Tensor:
        """`beta_t^2 / (2 sigma_t^2 alpha_t (1 - abar_t))`, `sigma_t^2 = beta_t` (DDPM, eq. 12)."""
        index = t.cpu()
        beta, abar = self.betas[index], self.alphas_cumprod[index]
        return (beta / (2.0 * (1.0 - beta) * (1.0 - abar))).to(t.device)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "discrete",
            "n_timesteps": self.n_timesteps,
            "prediction": self.prediction,
            "betas": [float(self.betas[0]), float(self.betas[-1])],
        }

    def _scales(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """`a_t` and `s_t` in the type of `like`, shaped to multiply it."""
        shape = (-1, *[1] * (like.ndim - 1))
        a, s = self.signal_noise(t)
        return a.to(like).view(shape), s.to(like).view(shape)
