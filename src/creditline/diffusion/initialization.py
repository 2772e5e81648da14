"""The network before the first step: random weights, or those of a trained model."""

from __future__ import annotations

import json
from typing import Any

import torch

from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.families.pixel import UNetDenoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.process import DiscreteProcess
from creditline.diffusion.seeds import seed_for
from creditline.errors import ModelError, difference


def initial_network(config: TrainConfig, base: Denoiser | None = None) -> UNetDenoiser:
    """Create the network before the first step. Changes torch's random state.

    Args:
        config: settings of the network, its process and the seed of its weights.
        base: a model that `load_base` returned, whose weights replace the random ones.
    """
    torch.manual_seed(seed_for(config, "weights"))
    network = UNetDenoiser(config.unet.build(), _create_process(config))
    if base is not None:
        network.module.load_state_dict(base.module.state_dict())
    return network


def load_base(source: Any, config: TrainConfig) -> Denoiser:
    """Load a trained model of the network in the settings.

    Args:
        source: a model, as in `load_model`.
        config: settings of the training.

    Raises:
        ModelError: if it cannot be loaded, or its network or process differs; the message names
            every difference.
    """
    base = load_model(source)
    with torch.device("meta"):
        unet = config.unet.build()
    expected = UNetDenoiser(unet, _create_process(config))
    lines = difference(_describe_network(base), _describe_network(expected), "network.")
    lines += difference(base.process.to_dict(), expected.process.to_dict(), "process.")
    # Equal settings can have different layers in another version of diffusers.
    lines = lines or difference(_weight_shapes(base), _weight_shapes(expected), "weights.")
    if lines:
        lines = [line.replace(" on disk, ", " in the base, ") for line in lines]
        raise ModelError(
            f"The base {base.source or type(base.module).__name__} is not the network of the "
            "settings:\n"
            + "\n".join(lines)
            + "\nUse the settings that the base was trained with, or train from scratch."
        )
    return base


def _create_process(config: TrainConfig) -> DiscreteProcess:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule=config.beta_schedule, prediction_type=config.prediction)
    return DiscreteProcess.from_scheduler(scheduler)


def _describe_network(denoiser: Denoiser) -> dict[str, Any]:
    """Return class and settings of a network, in the form in which they are read from a file."""
    config = dict(getattr(denoiser.module, "config", {}))
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    return {"class": type(denoiser.module).__name__, **json.loads(json.dumps(public))}


def _weight_shapes(denoiser: Denoiser) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in denoiser.module.state_dict().items()}
