"""An experiment as data: what trains, what is asked, how often, and how it is scaled down.

One factor scales it: fewer images, queries, subsets, seeds and loss evaluations, and fewer steps
because an epoch is shorter. The network and the number of epochs stay, so a small version still
learns from its images as the large one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from creditline.diffusion.config import TrainConfig
from creditline.diffusion.presets import preset
from creditline.errors import SettingsError
from creditline.retraining.arrays import MIN_SUBSETS
from creditline.settings import require


@dataclass(frozen=True)
class Recipe:
    """One experiment.

    Attributes:
        name, title: what to call it.
        data: what to give it, in words.
        classes: names of the classes that are used; empty where there are none.
        pool, test_pool: images of these classes to draw training images and queries from.
        train_images: n.
        resolution: side of the pictures in pixels; `center_crop` is cut out before resizing.
        network: training preset of the network; empty where Creditline cannot train it yet.
        epochs, batch_size: of every training, subsets included.
        validation, generated: queries of each kind.
        alpha, subsets, seeds: share of the images in a subset, how many subsets, trainings of each.
        loss_timesteps, loss_draws: at which a query's loss is averaged.
        datamodel_subsets: further subsets trained once, for methods that come from retraining.
        ensemble: models trained on halves whose scores are averaged.
        removals: k of the counterfactual; `removals_trained` those that the authors retrained.
        targets, targets_state: generated pictures it looks at, and the random state that chose.
        sampling_steps: of DDIM, eta 0; picture i has seed i.
        guidance: scale of classifier-free guidance, 0 for none.
        prompt: of a class, for models with text.
        timesteps, dim: of the features: noise levels per image, projected dimensions.
        checkpoints: models along the training that TracIn averages over.
        factor: by which it is scaled; 1 is the paper's.
    """

    name: str
    title: str
    data: str
    classes: tuple[str, ...]
    pool: int
    test_pool: int
    train_images: int
    resolution: int
    network: str
    center_crop: int | None = None
    epochs: int = 200
    batch_size: int = 128
    validation: int = 1000
    generated: int = 1000
    alpha: float = 0.5
    subsets: int = 64
    seeds: int = 3
    loss_timesteps: int = 1000
    loss_draws: int = 3
    datamodel_subsets: int = 0
    ensemble: int = 0
    removals: tuple[int, ...] = ()
    removals_trained: tuple[int, ...] = ()
    targets: int = 0
    targets_state: int = 0
    sampling_steps: int = 50
    guidance: float = 0.0
    prompt: str = ""
    timesteps: tuple[int, ...] = (10, 100)
    dim: int = 32768
    checkpoints: int = 4
    factor: float = 1.0

    @property
    def subset_images(self) -> int:
        """Images in a subset."""
        return int(self.alpha * self.train_images)

    def steps(self, images: int) -> int:
        """Optimiser steps of a training on so many images."""
        return self.epochs * math.ceil(images / self.batch_size)

    def config(self, images: int | None = None, seed: int = 0) -> TrainConfig:
        """Settings of a training.

        Args:
            images: how many it has; all training images by default.
            seed: of the training.

        Raises:
            SettingsError: if Creditline cannot train the network.
        """
        self.require_trainable()
        n = images or self.train_images
        steps = self.steps(n)
        return replace(
            preset(self.network),
            steps=steps,
            batch_size=min(self.batch_size, n),
            seed=seed,
            checkpoint_every=math.ceil(steps / self.checkpoints),
            sample_every=0,
        )

    def using(self, network: str) -> Recipe:
        """The recipe with another training preset's network, optimiser and batches.

        Raises:
            SettingsError: if there is no such preset, or it is for pictures of another size.
        """
        self.require_trainable()
        config = preset(network)
        require(
            config.unet.resolution == self.resolution,
            f"{self.title} has pictures of {self.resolution} pixels",
            f"a preset for {config.unet.resolution}",
            "Choose a preset of that resolution.",
        )
        return replace(self, network=network, batch_size=config.batch_size)

    def require_trainable(self) -> None:
        """Raise SettingsError if the recipe's network cannot be trained here."""
        require(
            bool(self.network),
            f"{self.title} trains LoRA matrices of rank 128 in a text-to-image model on VAE "
            "latents, which Creditline cannot train yet; its splits, numbers and amount of work "
            "are known",
            self.name,
            "Run one of the pixel recipes: cifar2, cifar10, celeba.",
        )

    def scaled(self, factor: float) -> Recipe:
        """A smaller version.

        Args:
            factor: 1 is the paper's; 0.01 has a hundredth of the images, queries and removals, but
                never fewer than 8 subsets, 2 seeds and 10 timesteps per loss.

        Raises:
            SettingsError: if the factor is not in (0, 1], or leaves classes without an image.
        """
        require(0 < factor <= 1, "The scale must be in (0, 1]", factor, "Try 0.01.")
        if factor == 1:
            return self

        def part(number: int, least: int = 1) -> int:
            return min(number, max(least, round(number * factor)))

        small = replace(
            self,
            train_images=part(self.train_images, 2),
            validation=part(self.validation),
            generated=part(self.generated),
            subsets=part(self.subsets, MIN_SUBSETS),
            seeds=part(self.seeds, 2),
            loss_timesteps=part(self.loss_timesteps, 10),
            loss_draws=part(self.loss_draws),
            datamodel_subsets=part(self.datamodel_subsets, 0),
            ensemble=part(self.ensemble),
            removals=tuple(part(k) for k in self.removals),
            removals_trained=tuple(part(k) for k in self.removals_trained),
            targets=part(self.targets),
            factor=self.factor * factor,
        )
        least = max(1, len(self.classes))
        if min(small.subset_images, small.validation) < least:
            raise SettingsError(
                f"{self.title} at scale {factor:g} has {small.subset_images} images in a subset "
                f"and {small.validation} validation queries for {least} classes. Use a larger "
                "scale."
            )
        return small
