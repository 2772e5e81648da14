"""Cost of a recipe: its counted operations times the measured speed of this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import find_device
from creditline.diffusion.initialization import initial_network
from creditline.diffusion.precision import SCALE, autocast
from creditline.diffusion.tuning.check import check_tuning
from creditline.diffusion.tuning.config import TuneConfig
from creditline.diffusion.tuning.task import TuningTask
from creditline.settings import require
from creditline_research.paper.recipe import Recipe

OBJECTIVES = 2
"""Objectives of features: TRAK's loss, which other methods share, and D-TRAK's square norm."""

REMOVAL_METHODS = 3
"""TRAK, D-TRAK and random, as in the paper's counterfactual."""

CPU_BATCH = 2


@dataclass(frozen=True)
class RecipeCost:
    """Cost of one part of a recipe.

    Attributes:
        name: description of the part.
        models: number of models trained.
        steps: optimizer steps of all models together.
        images: images in these steps, of all models together.
        forwards: evaluations of the network.
        gradients: number of gradients of one image at one noise level.
    """

    name: str
    models: int = 0
    steps: int = 0
    images: int = 0
    forwards: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class MachineSpeed:
    """Seconds of one operation of each kind.

    Attributes:
        step: an update of the optimizer.
        image: one image through forward and backward pass.
        forward: one evaluation without gradient.
        device: device of the measurement.
        batch: images in a batch.
    """

    step: float
    image: float
    forward: float
    device: str
    batch: int

    def hours(self, part: RecipeCost) -> float:
        """Estimate the hours of a part, without parallel work."""
        training = part.steps * self.step + part.images * self.image
        return (training + part.gradients * self.image + part.forwards * self.forward) / 3600


def count_costs(recipe: Recipe) -> list[RecipeCost]:
    """Count everything that the paper computed for an experiment, in order."""
    queries = recipe.validation + recipe.generated
    passes = 2 if recipe.guidance else 1  # guidance evaluates with and without the prompt
    losses = recipe.loss_timesteps * recipe.loss_draws * queries
    features = sum(recipe.timesteps) * (recipe.train_images + queries)
    half, retrained = recipe.subset_images, recipe.subsets * recipe.seeds
    sampling = recipe.sampling_steps * passes
    parts = [
        _training(recipe, "the model", 1, recipe.train_images),
        RecipeCost("generated queries", forwards=recipe.generated * sampling),
        _training(recipe, "ground truth: models", retrained, half),
        RecipeCost("ground truth: losses", forwards=retrained * losses),
        RecipeCost("features", gradients=features * (recipe.checkpoints - 1 + OBJECTIVES)),
    ]
    if recipe.datamodel_subsets:
        subsets = recipe.datamodel_subsets
        parts.append(_training(recipe, "datamodels: models", subsets, half))
        parts.append(RecipeCost("datamodels: losses", forwards=subsets * losses))
    if recipe.ensemble:  # its models are among the datamodels'
        parts.append(
            RecipeCost("ensembles: features", gradients=features * recipe.ensemble * OBJECTIVES)
        )
    if recipe.targets:
        models = REMOVAL_METHODS * recipe.targets
        for k in recipe.removals_trained:
            left = recipe.train_images - k
            parts.append(_training(recipe, f"counterfactual, {k} removed", models, left))
            parts.append(RecipeCost("counterfactual: images", forwards=models * sampling))
    return parts


def _training(recipe: Recipe, name: str, models: int, images: int) -> RecipeCost:
    return RecipeCost(name, models, models * recipe.steps(images), models * recipe.epochs * images)


def measure(
    recipe: Recipe,
    base: Any = None,
    device: str = "cpu",
    steps: int = 3,
    batch: int | None = None,
) -> MachineSpeed:
    """Measure the time of a few training steps of a recipe's network.

    Args:
        recipe: which.
        base: the `Denoiser` that a recipe of tuning tunes.
        device: device to measure.
        steps: number of timed steps, after a first one that is not timed.
        batch: images in a batch. By default that of the recipe, or its accumulated part; on a CPU
            2, since the time per image hardly depends on it.

    Raises:
        SettingsError: on fewer steps than 1, or no base where one is needed.
        ModelError: if there is no such device, or the base does not fit.
    """
    require(steps >= 1, "The speed is measured over at least 1 step", steps, "Try 3.")
    recipe.check_base(base)
    config, place = recipe.config(), find_device(device)
    part = -(-config.batch_size // recipe.accumulate)
    size = batch or (min(CPU_BATCH, part) if place.type == "cpu" else part)
    with torch.random.fork_rng([place] if place.type == "cuda" else []):
        denoiser = _network(recipe, config, base, place)
        trained = [p for p in denoiser.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config.learning_rate, fused=True)
        x = torch.randn(size, *denoiser.sample_shape).to(place)
        t = torch.randint(denoiser.process.n_timesteps, (size,)).to(place)
        conditions = [0 if recipe.prompts is None else recipe.prompts[0]] * size
        condition = {
            name: value.to(place) for name, value in denoiser.encode_conditions(conditions).items()
        }
        scale = SCALE[recipe.precision]

        def predict() -> torch.Tensor:
            with autocast(recipe.precision, place):
                return denoiser.predict(x, t, condition).float()

        def compute_gradient() -> None:
            loss = torch.nn.functional.mse_loss(predict(), x)
            (loss * scale).backward()
            loss.item()

        def update() -> None:
            torch.nn.utils.clip_grad_norm_(trained, config.clip)
            optimizer.step()
            trained[0].detach().sum().item()  # waits for the device

        @torch.no_grad()
        def forward() -> None:
            predict().sum().item()

        seconds = dict.fromkeys((compute_gradient, update, forward), 0.0)
        for step in range(steps + 1):
            optimizer.zero_grad()
            for each in seconds:
                started = time.perf_counter()
                each()
                seconds[each] += time.perf_counter() - started if step else 0.0
    return MachineSpeed(
        step=seconds[update] / steps,
        image=seconds[compute_gradient] / steps / size,
        forward=seconds[forward] / steps / size,
        device=str(place),
        batch=size,
    )


def _network(
    recipe: Recipe, config: TrainConfig | TuneConfig, base: Any, device: torch.device
) -> Any:
    """Build the network that a recipe trains, before its first step."""
    if isinstance(config, TrainConfig):
        network = initial_network(config).to(device)
        network.module.train()
        return network
    blank = np.zeros((1, recipe.resolution, recipe.resolution, 3), np.uint8)
    texts = None if recipe.prompts is None else recipe.prompts[:1]
    images = ImageSet.from_images(blank, texts=texts)
    check_tuning(base, images, config, device)
    task = TuningTask(base, images, config, device)
    task.set_mode()
    return task.denoiser
