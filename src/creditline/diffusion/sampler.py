"""The sampler: how a trained denoiser generates samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from creditline.diffusion.process import Process


@dataclass(frozen=True)
class SamplingPath:
    """Result of one sampling run.

    Attributes:
        x0: clean samples, shape `(b, *sample_shape)`.
        timesteps: timesteps of the steps, noisiest first.
        estimates: estimate of the clean samples at each step, each of the shape of `x0`.
    """

    x0: Tensor
    timesteps: list[int]
    estimates: list[Tensor]


class Predictor(Protocol):
    """A denoiser with its conditions, as a sampler calls it.

    Attributes:
        process: the diffusion process of the model.
        on_pixels: whether samples are pixels instead of latents.
    """

    process: Process
    on_pixels: bool

    def predict(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the prediction, of the shape of `x_t`."""


class Sampler(ABC):
    """A sampling algorithm.

    Attributes:
        name: identifies the sampler in records of generated images.
    """

    name: ClassVar[str]

    @abstractmethod
    def sample(
        self, predictor: Predictor, draw_noise: Callable[[], Tensor], steps: int, eta: float
    ) -> SamplingPath:
        """Sample from noise.

        Args:
            predictor: the denoiser with its conditions.
            draw_noise: returns fresh standard normal noise, shape `(b, *sample_shape)`.
            steps: number of steps.
            eta: amount of noise that each step adds; 0 is deterministic.

        Raises:
            SettingsError: if the sampler does not support `steps` or `eta`.
            NumericsError: if the model's output does not imply a sample.
        """
