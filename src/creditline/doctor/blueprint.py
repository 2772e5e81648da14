"""Blueprints: a network built from its config alone, of tensors that have shapes and no numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from creditline.diffusion.components import read_json
from creditline.diffusion.families.network import ConditionSpec, NetworkDenoiser
from creditline.diffusion.model_parts import network_config, network_family
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError, SettingsError
from creditline.gradients.noised_batch import NoisedBatch
from creditline.settings import require

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class MetaModel:
    """A network without weights.

    Attributes:
        denoiser: calls it; only within `mode`.
        conditions: shape and type of every conditioning tensor, by name.
        mode: in which operations make shapes and no numbers.
        parameters: of the network, without adapters.
        adapters: parameters of the adapters.
        adapted: layers that have one.
    """

    denoiser: NetworkDenoiser
    conditions: Mapping[str, ConditionSpec]
    mode: FakeTensorMode
    parameters: int
    adapters: int
    adapted: int

    def probe(self, evaluations: int) -> NoisedBatch:
        """So many evaluations of an image, within `mode`."""
        x0 = torch.zeros(evaluations, *self.denoiser.sample_shape)
        condition = {
            name: torch.zeros(evaluations, *spec.shape, dtype=spec.dtype)
            for name, spec in self.conditions.items()
        }
        t = torch.zeros(evaluations, dtype=torch.int64)
        return NoisedBatch("shapes", x0, t, torch.zeros_like(x0), condition, 1)


def draw_up(
    place: str | Path,
    lora_rank: int | None = None,
    side: int | None = None,
    prompt_tokens: int | None = None,
) -> MetaModel:
    """The blueprint of a network; no weights are read, nor need they exist.

    Args:
        place: a network's `config.json` or the folder of it, or a pipeline's folder.
        lora_rank: of an adapter on all attention's q, k, v and output; None: no adapter.
        side: of the pictures, in pixels; by default that of the config.
        prompt_tokens: of a prompt; by default as many as the pipeline pads to.

    Raises:
        ModelError: if there is no config, or its network is not supported.
        SettingsError: if a number is below 1, or there is no attention for the adapter.
    """
    import diffusers
    from diffusers import DDPMScheduler

    for name, value in (("lora_rank", lora_rank), ("side", side), ("prompt_tokens", prompt_tokens)):
        require(value is None or value >= 1, f"{name} must be at least 1", value, "Leave it out.")
    config, pipeline = _config(Path(place))
    name = str(config.get("_class_name"))
    family = network_family(config, pipeline, place)
    with torch.device("meta"):
        network = getattr(diffusers, name).from_config(config)
    parameters, adapted = _size(network), 0
    if lora_rank is not None:
        adapted = adapt(network, lora_rank)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        _fake(network)
    process = TimelessProcess.from_scheduler(DDPMScheduler())
    denoiser = family.for_estimates(network, process, Path(place), side)
    conditions = family.condition_specs(network.config, prompt_tokens)
    return MetaModel(denoiser, conditions, mode, parameters, _size(network) - parameters, adapted)


def adapt(network: nn.Module, rank: int) -> int:
    """Put a LoRA adapter on attention's q, k, v and output; how many layers have one then.

    Raises:
        ModelError: if PEFT is not installed.
        SettingsError: if there is no attention.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError(
            "Adapters need the library peft: pip install 'creditline[lora]'."
        ) from error
    try:
        inject_adapter_in_model(LoraConfig(r=rank, target_modules=list(ATTENTION)), network)
    except ValueError as error:
        raise SettingsError(
            f"The {type(network).__name__} has no attention that an adapter fits "
            f"({', '.join(ATTENTION)}). Leave lora_rank= (--lora-rank) out."
        ) from error
    return sum(hasattr(part, "lora_A") for part in network.modules())


def _config(place: Path) -> tuple[dict[str, Any], str | None]:
    """Config of the network, and the class of the pipeline around it."""
    if place.is_file():
        return read_json(place), None
    if (place / "model_index.json").is_file():
        config, _, pipeline = network_config(place)
        return config, pipeline
    if (place / "config.json").is_file():
        return read_json(place / "config.json"), None
    raise ModelError(
        f"There is no config of a network at {place}. Give its config.json or the folder of it, or "
        "a pipeline's folder with model_index.json; weights are not needed."
    )


class TimelessProcess(DiscreteProcess):
    """A process for timesteps that have no number; its scales are as large as real ones."""

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(len(t), dtype=torch.float64), torch.ones(len(t), dtype=torch.float64)


def _fake(network: nn.Module) -> None:
    """Give a network of the meta device fake tensors of the CPU, so that its kernels are meant."""
    for module in network.modules():
        for name, value in module._parameters.items():
            if value is not None:
                fake = torch.empty(value.shape, dtype=value.dtype)
                module._parameters[name] = nn.Parameter(fake, value.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


def _size(network: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in network.parameters())
