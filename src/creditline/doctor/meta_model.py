"""Networks built from their config alone, of tensors that have shapes and no data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from creditline.diffusion.families.network import ConditionSpec, NetworkDenoiser
from creditline.diffusion.json_file import read_json
from creditline.diffusion.model_parts import network_config, network_family
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError, SettingsError
from creditline.gradients.noised_batch import NoisedBatch
from creditline.settings import require

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class MetaModel:
    """Network without weights.

    Attributes:
        denoiser: the denoiser of the network; use it only within `mode`.
        conditions: shape and type of every conditioning tensor, by name.
        mode: mode in which operations compute shapes and no data.
        parameters: number of parameters of the network, without adapters.
        adapters: number of parameters of the adapters.
        adapted: number of layers with an adapter.
    """

    denoiser: NetworkDenoiser
    conditions: Mapping[str, ConditionSpec]
    mode: FakeTensorMode
    parameters: int
    adapters: int
    adapted: int

    def probe(self, evaluations: int) -> NoisedBatch:
        """Make a batch of evaluations of one image, within `mode`."""
        x0 = torch.zeros(evaluations, *self.denoiser.sample_shape)
        condition = {
            name: torch.zeros(evaluations, *spec.shape, dtype=spec.dtype)
            for name, spec in self.conditions.items()
        }
        t = torch.zeros(evaluations, dtype=torch.int64)
        return NoisedBatch("shapes", x0, t, torch.zeros_like(x0), condition, 1)


def build_meta_model(
    place: str | Path,
    lora_rank: int | None = None,
    side: int | None = None,
    prompt_tokens: int | None = None,
) -> MetaModel:
    """Build a network without its weights, which need not exist.

    Args:
        place: a network's `config.json` or the folder of it, or a pipeline's folder.
        lora_rank: rank of an adapter on q, k, v and output of all attention; None for no adapter.
        side: side of the images in pixels; by default that of the config.
        prompt_tokens: tokens of a prompt; by default the length that the pipeline pads to.

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
        adapted = add_adapter(network, lora_rank)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        _make_fake(network)
    process = TimelessProcess.from_scheduler(DDPMScheduler())
    denoiser = family.for_estimates(network, process, Path(place), side)
    conditions = family.condition_specs(network.config, prompt_tokens)
    return MetaModel(denoiser, conditions, mode, parameters, _size(network) - parameters, adapted)


def add_adapter(network: nn.Module, rank: int) -> int:
    """Add a LoRA adapter to q, k, v and output of attention; return the number of its layers.

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
    """Read the config of the network, and the class of the pipeline around it."""
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
    """Process for timesteps without data; its scales are as large as real ones."""

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(len(t), dtype=torch.float64), torch.ones(len(t), dtype=torch.float64)


def _make_fake(network: nn.Module) -> None:
    """Replace meta tensors by fake tensors of the CPU, so that its kernels are estimated."""
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
