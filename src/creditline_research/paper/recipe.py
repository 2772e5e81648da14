"""Settings of an experiment, and its smaller versions.

One factor scales the number of images, queries, subsets, seeds and loss evaluations. There are
fewer steps because an epoch is shorter. The network and the number of epochs stay, so that a small
version learns its images as well as the large one does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from creditline.data.template import fill_template
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.precision import Precision
from creditline.diffusion.presets import PRESETS
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.presets import TUNING_PRESETS
from creditline.errors import ModelError, SettingsError, unknown
from creditline.methods.subset_losses import MIN_SUBSETS
from creditline.settings import require

MINI_SD = "lambdalabs/miniSD-diffusers"
"""The base that the paper's authors tuned: Stable Diffusion 1.x for images of 256 pixels."""


@dataclass(frozen=True)
class Recipe:
    """One experiment.

    Attributes:
        name, title: name as typed and as printed.
        data: description of the data to give.
        classes: names of the classes in use; empty without classes.
        pool, test_pool: number of images that training images and queries are drawn from.
        train_images: n.
        resolution: side of the images in pixels.
        center_crop: side of the square that is cut out before resizing.
        network: training preset, either of a new network or of tuning a base.
        epochs, batch_size: of every training run, those on subsets included.
        validation, generated: number of queries of each kind.
        alpha, subsets, seeds: share of the images in a subset, number of subsets, runs per subset.
        loss_timesteps, loss_draws: evaluations that a query's loss is averaged over.
        datamodel_subsets: further subsets trained once, for methods that learn from retraining.
        ensemble: models trained on halves whose scores are averaged.
        removals: numbers of images that the counterfactual removes.
        removals_trained: those that the authors retrained.
        targets, targets_state: number of generated images of the counterfactual, and the random
            state that selected them.
        sampling_steps: of DDIM, eta 0; image i has seed i.
        guidance: scale of classifier-free guidance, None for none.
        prompt: template of the captions, over the name of the class (`{label}`); None: no text.
        timesteps, dim: noise levels per image and projected dimension of the features.
        checkpoints: models along the training that TracIn averages over.
        precision, accumulate: precision of tuning, and parts that a batch is computed in. These
            depend on the machine and are no part of the experiment.
        factor: scale; 1 is that of the paper.
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
    guidance: float | None = None
    prompt: str | None = None
    timesteps: tuple[int, ...] = (10, 100)
    dim: int = 32768
    checkpoints: int = 4
    precision: Precision = "fp32"
    accumulate: int = 1
    factor: float = 1.0

    @property
    def subset_images(self) -> int:
        """Images in a subset."""
        return int(self.alpha * self.train_images)

    @property
    def tunes(self) -> bool:
        """Whether a trained model is tuned, instead of a new network trained."""
        return self.network in TUNING_PRESETS

    @property
    def prompts(self) -> list[str] | None:
        """One prompt for each class, which generated queries take in turn; None without text."""
        if self.prompt is None:
            return None
        return fill_template(self.prompt, {"label": self.classes}, self.classes)

    def steps(self, images: int) -> int:
        """Optimizer steps of a training run on a number of images."""
        return self.epochs * math.ceil(images / self.batch_size)

    def config(self, images: int | None = None, seed: int = 0) -> TrainConfig | TuneConfig:
        """Settings of a training run.

        Args:
            images: number of images; all training images by default.
            seed: seed of the training run.

        Raises:
            SettingsError: on an unknown precision, or more parts of a batch than it has images.
        """
        n = images or self.train_images
        steps = self.steps(n)
        numbers: dict[str, Any] = {
            "steps": steps,
            "batch_size": min(self.batch_size, n),
            "seed": seed,
            "checkpoint_every": math.ceil(steps / self.checkpoints),
            "sample_every": 0,
        }
        if not self.tunes:
            return replace(PRESETS[self.network], **numbers)
        machine: dict[str, Any] = {"precision": self.precision, "accumulate": self.accumulate}
        return replace(TUNING_PRESETS[self.network], epochs=0, **numbers, **machine)

    def using(self, network: str) -> Recipe:
        """Use the settings and batch size of another preset of the same kind of training.

        Raises:
            SettingsError: if there is no such preset, or it is for images of another size.
        """
        known: Any = TUNING_PRESETS if self.tunes else PRESETS
        if network not in known:
            raise unknown(f"training preset of {self.title}", network, known)
        config = known[network]
        if not self.tunes:
            require(
                config.unet.resolution == self.resolution,
                f"{self.title} has images of {self.resolution} pixels",
                f"a preset for {config.unet.resolution}",
                "Choose a preset of that resolution.",
            )
        return replace(self, network=network, batch_size=config.batch_size)

    def on(self, precision: Precision | None = None, accumulate: int | None = None) -> Recipe:
        """Adapt the recipe to a machine; None leaves a setting unchanged.

        Raises:
            SettingsError: if it trains a new network, which has no such settings, or they are out
                of range.
        """
        values = {"precision": precision, "accumulate": accumulate}
        changed: dict[str, Any] = {name: x for name, x in values.items() if x is not None}
        require(
            self.tunes or not changed,
            f"{self.title} trains a new network in float32 and undivided batches",
            ", ".join(changed),
            "Leave it out.",
        )
        adapted = replace(self, **changed)
        adapted.config(adapted.subset_images)  # refuses invalid settings before any work
        return adapted

    def check_base(self, base: Any) -> None:
        """Refuse a base that is not needed, or that the recipe cannot tune.

        Args:
            base: a `Denoiser`, or None.

        Raises:
            SettingsError: if it is missing or not needed.
            ModelError: if it reads no prompts, or has images of another size.
        """
        side = self.resolution
        if not self.tunes:
            require(
                base is None,
                f"{self.title} trains a new network from scratch",
                "a base",
                "Leave it out (--base).",
            )
            return
        if base is None:
            raise SettingsError(
                f"{self.title} tunes a text-to-image model, and there is none. Give one with base= "
                f"(--base): the folder of a Stable Diffusion 1.x pipeline for images of {side} "
                f"pixels; the paper's is {MINI_SD}."
            )
        if not base.takes_prompts:
            raise ModelError(
                f"{self.title} generates images from prompts, and {base.source or 'the base'} "
                "reads none. Give a text-to-image pipeline as base (--base)."
            )
        if base.image_shape != (3, side, side):
            raise ModelError(
                f"{self.title} has images of {side} pixels, and {base.source or 'the base'} is "
                f"for {base.image_shape[1]}. Give one for {side}, or set its size (--side "
                f"{side})."
            )

    def scaled(self, factor: float) -> Recipe:
        """Scale the recipe down.

        Args:
            factor: 1 is the scale of the paper. 0.01 has a hundredth of the images, queries and
                removals, but never fewer than 8 subsets, 2 seeds and 10 timesteps per loss.

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
