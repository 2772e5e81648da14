"""What a training starts from: fresh weights, or those of a trained model."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch

from creditline.diffusion.config import RunSettings, TrainConfig
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError, difference
from creditline.fingerprint import key64


def seed_for(config: RunSettings, *what: object) -> int:
    """A seed for torch from a hash; nearby steps and run seeds share nothing."""
    return int(key64(*what, config.seed)[0] >> np.uint64(1))


def starting_network(config: TrainConfig, base: Denoiser | None = None) -> UNetDenoiser:
    """The network before the first step; torch's random state is changed.

    Args:
        config: decides the network, its process and its fresh weights.
        base: a model that `load_base` accepted, whose weights are taken instead.
    """
    torch.manual_seed(seed_for(config, "weights"))
    network = UNetDenoiser(config.unet.build(), _process(config))
    if base is not None:
        network.module.load_state_dict(base.module.state_dict())
    return network


def load_base(source: Any, config: TrainConfig) -> Denoiser:
    """A trained model of the network that the settings train.

    Args:
        source: what `load_model` takes.
        config: settings of the training to come.

    Raises:
        ModelError: if it cannot be loaded, or its network or noise process is another; the
            message names every difference.
    """
    base = load_model(source)
    with torch.device("meta"):
        unet = config.unet.build()
    wanted = UNetDenoiser(unet, _process(config))
    lines = difference(_network(base), _network(wanted), "network.")
    lines += difference(base.process.to_dict(), wanted.process.to_dict(), "process.")
    # Settings that do not differ leave differences such as layers of another version of diffusers.
    lines = lines or difference(_shapes(base), _shapes(wanted), "weights.")
    if lines:
        lines = [line.replace(" on disk, ", " in the base, ") for line in lines]
        raise ModelError(
            f"The base {base.source or type(base.module).__name__} is not of the network that the "
            "settings train:\n"
            + "\n".join(lines)
            + "\nUse the settings that the base was trained with, or start from fresh weights."
        )
    return base


def _process(config: TrainConfig) -> DiscreteProcess:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule=config.beta_schedule, prediction_type=config.prediction)
    return DiscreteProcess.from_scheduler(scheduler)


def _network(denoiser: Denoiser) -> dict[str, Any]:
    """Class and settings of a network, as they are when read from a file."""
    config = dict(getattr(denoiser.module, "config", {}))
    public = {key: value for key, value in config.items() if not key.startswith("_")}
    return {"class": type(denoiser.module).__name__, **json.loads(json.dumps(public))}


def _shapes(denoiser: Denoiser) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in denoiser.module.state_dict().items()}
