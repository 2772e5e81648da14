"""The evaluations that curvature is estimated from: images, timesteps, noise and outputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.fingerprint import key64
from creditline.gradients.caption_turns import with_captions
from creditline.gradients.noised_batch import NoisedBatch, mask_weight
from creditline.gradients.preconditioning.settings import Preconditioning


@dataclass(frozen=True)
class CurvatureDraws:
    """Random evaluations of training images.

    Every random number is a function of the seed, the pass and the image alone, so estimates do not
    depend on batches, order or process.

    Attributes:
        settings: number of evaluations, targets, noise and seed.
        images: number of training images n.
        mirror: mirror half of the evaluations, drawn at random.
    """

    settings: Preconditioning
    images: int
    mirror: bool = False

    @property
    def each(self) -> int:
        """Number of evaluations of each image that is evaluated."""
        return -(-self.settings.preconditioner_draws // self.images)

    @property
    def rows(self) -> np.ndarray:
        """Positions of these images, spread evenly over the set."""
        count = -(-self.settings.preconditioner_draws // self.each)
        return np.arange(count) * self.images // count

    @property
    def evaluations(self) -> int:
        """Number of all evaluations of a pass: what the settings ask for, rounded up to `each`."""
        return self.each * len(self.rows)

    def noised_images(
        self, denoiser: Denoiser, images: ImageSet, rows: Sequence[int], number: int
    ) -> list[NoisedBatch]:
        """Evaluate some training images.

        Args:
            denoiser: gives the process.
            images: the training images.
            rows: positions of the images.
            number: of the pass.

        Returns:
            One noised batch per image, with one evaluation at each timestep. The captions of an
            image with several take turns, from one that is drawn.
        """
        return [self._one(denoiser, images, int(row), number) for row in rows]

    def _one(self, denoiser: Denoiser, images: ImageSet, row: int, number: int) -> NoisedBatch:
        batch = denoiser.encode(images, [row])
        (image_id,), count, shape = batch.ids, self.each, batch.x0.shape[1:]
        key = key64("curvature", self.settings.preconditioner_seed, number, image_id)
        generator = np.random.Generator(np.random.Philox(key=key))
        t = self._timesteps(generator, denoiser.process.n_timesteps)
        noise = self._noise(generator, shape)
        mask = None if images.masks is None else images.masks[row]
        weight = None if mask is None else mask_weight(mask, shape, count)
        direction = None
        if self.settings.preconditioner_targets == "model":
            sample = generator.standard_normal((count, *shape), dtype=np.float32)
            direction = torch.from_numpy(sample) * math.sqrt(2 / math.prod(shape))
            direction = direction if weight is None else direction * weight.sqrt()
        noised = NoisedBatch(
            image_id=image_id,
            x0=batch.x0.expand(count, *shape),
            t=torch.from_numpy(t),
            noise=torch.from_numpy(noise),
            condition={k: v.expand(count, *v.shape[1:]) for k, v in batch.condition.items()},
            draws=1,
            weight=weight,
            output_gradient=direction,
        )
        if self.mirror:
            noised = noised.mirror(generator.random(count) < 0.5)
        # An image may have fewer evaluations than captions, so the first is drawn as well.
        first = key64("caption", self.settings.preconditioner_seed, number, image_id)[0]
        return with_captions(noised, denoiser, images, row, int(first))

    def _timesteps(self, generator: np.random.Generator, n_timesteps: int) -> np.ndarray:
        """Draw timesteps: independent, or one from each of as many intervals as there are."""
        if self.settings.preconditioner_noise == "independent":
            return generator.integers(0, n_timesteps, self.each)
        within = (np.arange(self.each) + generator.random(self.each)) / self.each
        return np.minimum((within * n_timesteps).astype(np.int64), n_timesteps - 1)

    def _noise(self, generator: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
        """Draw noise: independent, or every second draw the opposite of the one before."""
        noise = generator.standard_normal((self.each, *shape), dtype=np.float32)
        if self.settings.preconditioner_noise == "stratified":
            noise[1::2] = -noise[0::2][: len(noise[1::2])]
        return noise
