"""The sampler: how a trained denoiser generates samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from creditline.diffusion.guidance import GuidedDenoiser


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


class Sampler(ABC):
    """A sampling algorithm.

    Attributes:
        name: identifies the sampler in records of generated images.
    """

    name: ClassVar[str]

    @abstractmethod
    def sample(
        self, guided: GuidedDenoiser, draw_noise: Callable[[], Tensor], steps: int, eta: float
    ) -> SamplingPath:
        """Sample from noise.

        Args:
            guided: the denoiser with its conditions.
            draw_noise: returns fresh standard normal noise, shape `(b, *sample_shape)`.
            steps: number of steps.
            eta: amount of noise that each step adds; 0 is deterministic.

        Raises:
            SettingsError: if the sampler does not support `steps` or `eta`.
            NumericsError: if the model's output does not imply a sample.
        """
