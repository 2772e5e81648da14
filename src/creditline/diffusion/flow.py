"""Rectified flow: straight lines from images to noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditline import fingerprint
from creditline.diffusion.process import Prediction, scheduler_from, timestep_index
from creditline.errors import ModelError, NumericsError


class FlowProcess:
    """`x_t = (1 - sigma_t) x_0 + sigma_t eps`; the network predicts `eps - x_0`.

    The timesteps 0 .. T-1 are positions in the training's table of noise levels, which rises, as
    in the discrete processes. A static shift of the noise levels (SD3) is part of the table. A
    shift by the image's resolution (FLUX) belongs to the sampler: diffusers' training scripts do
    not use it.

    Liu et al., "Flow straight and fast", ICLR 2023; Esser et al., ICML 2024 (SD3).

    Args:
        sigmas: noise levels, float64 of shape `(T,)`, rising, in (0, 1].
        config: config of the diffusers scheduler.

    Raises:
        ModelError: if the noise levels do not rise within (0, 1].
    """

    prediction: Prediction = "flow"
    scheduler_class = "FlowMatchEulerDiscreteScheduler"

    def __init__(self, sigmas: np.ndarray, config: Mapping[str, Any]) -> None:
        sigmas = np.asarray(sigmas, dtype=np.float64)
        rising = sigmas.ndim == 1 and len(sigmas) > 0 and (np.diff(sigmas) > 0).all()
        if not rising or not (sigmas[0] > 0 and sigmas[-1] <= 1):
            raise ModelError(
                "Noise levels of a rectified flow must rise from above 0 to 1 at most."
            )
        self.config = dict(config)
        self.n_timesteps = len(sigmas)
        self.sigmas = torch.from_numpy(sigmas)

    @classmethod
    def from_scheduler(cls, scheduler: Any) -> FlowProcess:
        """Create the process of a flow matching scheduler of diffusers.

        Args:
            scheduler: a scheduler, or its config as a mapping.

        Raises:
            ModelError: if it belongs to another process, or its noise levels are inverted.
        """
        from diffusers import FlowMatchEulerDiscreteScheduler

        if isinstance(scheduler, Mapping):
            named = {"_class_name": cls.scheduler_class, **scheduler}
            scheduler = scheduler_from(named)
        if not type(scheduler).__name__.startswith("FlowMatch"):
            raise ModelError(
                f"{type(scheduler).__name__} is not of a rectified flow, which this model was "
                "trained as. Use FlowMatchEulerDiscreteScheduler with the model's settings."
            )
        # A new one: a scheduler that has sampled holds the noise levels of that run instead.
        new = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
        if new.config.invert_sigmas:
            raise ModelError("Schedulers with invert_sigmas are not supported.")
        sigmas = new.sigmas.double().cpu().numpy()[::-1].copy()
        return cls(sigmas, dict(new.config))

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        sigma = self.sigmas[timestep_index(t, self.n_timesteps)].to(t.device)
        return 1.0 - sigma, sigma

    def network_time(self, t: Tensor) -> Tensor:
        return (self.sigmas[timestep_index(t, self.n_timesteps)] * self.n_timesteps).to(t.device)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        sigma = self._sigma(t, x0)
        return (1.0 - sigma) * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return noise - x0

    def to_epsilon(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return x_t + (1.0 - self._sigma(t, output)) * output

    def to_x0(self, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return x_t - self._sigma(t, output) * output

    def elbo_weight(self, t: Tensor) -> Tensor:
        """Return `(sigma_t - sigma_{t-1}) / (sigma_t (1 - sigma_t))`, float64 of shape `(b,)`.

        The continuous bound weighs the squared noise error by half the negative derivative of the
        log signal-to-noise ratio, `1 / (sigma (1 - sigma))` per unit of sigma (Kingma & Gao,
        NeurIPS 2023, eq. 3).

        Raises:
            NumericsError: at pure noise, where the weight is infinite.
        """
        index = timestep_index(t, self.n_timesteps)
        sigma = self.sigmas[index]
        if bool((sigma == 1).any()):
            raise NumericsError(
                f"Timestep {int(index[sigma == 1][0])} is pure noise and has an infinite weight in "
                "the variational bound. Leave this timestep out."
            )
        before = torch.cat([torch.zeros(1, dtype=torch.float64), self.sigmas])[index]
        return ((sigma - before) / (sigma * (1.0 - sigma))).to(t.device)

    def nearest_timesteps(self, sigmas: np.ndarray) -> np.ndarray:
        """Return the timesteps with the nearest noise levels, int64 of the shape of `sigmas`."""
        table = self.sigmas.numpy()
        return np.abs(table[None] - np.asarray(sigmas, np.float64)[:, None]).argmin(1)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": "flow",
            "n_timesteps": self.n_timesteps,
            "prediction": self.prediction,
            "sigmas": [float(self.sigmas[0]), float(self.sigmas[-1])],
            # Six digits: the last ones of a table depend on the machine that computed it.
            "schedule": fingerprint.of_json([f"{s:.6g}" for s in self.sigmas.tolist()]),
        }

    def _sigma(self, t: Tensor, like: Tensor) -> Tensor:
        shape = (-1, *[1] * (like.ndim - 1))
        return self.signal_noise(t.cpu())[1].to(like.dtype).to(like.device).view(shape)
