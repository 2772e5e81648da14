"""Blueprints: a network built from its config alone, of tensors that have shapes and no numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from creditline.diffusion.components import read_json
from creditline.diffusion.denoiser import Denoiser, UNetDenoiser
from creditline.diffusion.families import (
    DiT,
    Flux,
    LatentDenoiser,
    LatentDiffusion,
    PixArt,
    StableDiffusion,
    StableDiffusion3,
    StableDiffusionXL,
    family_of_network,
    family_of_pipeline,
)
from creditline.diffusion.model_parts import PIXELS, SUPPORTED
from creditline.diffusion.process import DiscreteProcess
from creditline.errors import ModelError, SettingsError
from creditline.gradients.noised_batch import NoisedBatch
from creditline.settings import require

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
CLIP_TOKENS = 77
FACTOR = 8

Shapes = Mapping[str, tuple[int, ...]]


def _unet(config: Any, tokens: int | None) -> Shapes:
    return {"encoder_hidden_states": (tokens or CLIP_TOKENS, config.cross_attention_dim)}


def _sdxl(config: Any, tokens: int | None) -> Shapes:
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    return {**_unet(config, tokens), "text_embeds": (pooled,), "time_ids": (6,)}


def _pixart(config: Any, tokens: int | None) -> Shapes:
    tokens = tokens or (120 if config.use_additional_conditions else 300)
    hidden = (tokens, config.caption_channels)
    return {"encoder_hidden_states": hidden, "encoder_attention_mask": (tokens,)}


def _sd3(config: Any, tokens: int | None) -> Shapes:
    words = CLIP_TOKENS + 256 if tokens is None else tokens
    return {
        "encoder_hidden_states": (words, config.joint_attention_dim),
        "pooled_projections": (config.pooled_projection_dim,),
    }


def _flux(config: Any, tokens: int | None) -> Shapes:
    return {
        "encoder_hidden_states": (tokens or 512, config.joint_attention_dim),
        "pooled_projections": (config.pooled_projection_dim,),
        **({"guidance": ()} if config.guidance_embeds else {}),
    }


def _class(*_: Any) -> Shapes:
    return {"class_labels": ()}


def _nothing(*_: Any) -> Shapes:
    return {}


CONDITIONS: Mapping[type[LatentDenoiser], Callable[[Any, int | None], Shapes]] = {
    StableDiffusion: _unet,
    StableDiffusionXL: _sdxl,
    DiT: _class,
    PixArt: _pixart,
    StableDiffusion3: _sd3,
    Flux: _flux,
    LatentDiffusion: _nothing,
}
"""Shape of every conditioning tensor of a family, by its name, without the batch."""


@dataclass(frozen=True)
class MetaModel:
    """A network without weights.

    Attributes:
        denoiser: calls it; only within `mode`.
        conditions: shapes of its conditioning tensors, without the batch.
        mode: in which operations make shapes and no numbers.
        parameters: of the network, without adapters.
        adapters: parameters of the adapters.
        adapted: layers that have one.
    """

    denoiser: Denoiser
    conditions: Shapes
    mode: FakeTensorMode
    parameters: int
    adapters: int
    adapted: int

    def probe(self, evaluations: int) -> NoisedBatch:
        """So many evaluations of an image, within `mode`."""
        x0 = torch.zeros(evaluations, *self.denoiser.sample_shape)
        condition = {
            name: torch.zeros(evaluations, *shape, dtype=_kind(name))
            for name, shape in self.conditions.items()
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

    for name, value in (("lora_rank", lora_rank), ("side", side), ("prompt_tokens", prompt_tokens)):
        require(value is None or value >= 1, f"{name} must be at least 1", value, "Leave it out.")
    config, pipeline = _config(Path(place))
    name = str(config.get("_class_name"))
    family = _family(name, config, pipeline, place)
    with torch.device("meta"):
        network = getattr(diffusers, name).from_config(config)
    parameters, adapted = _size(network), 0
    if lora_rank is not None:
        adapted = adapt(network, lora_rank)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        _fake(network)
    denoiser = _denoiser(network, family, side and side // _factor(Path(place), family))
    if family is None:
        shapes = _nothing() if denoiser.n_classes is None else _class()
    else:
        shapes = CONDITIONS[family](network.config, prompt_tokens)
    return MetaModel(denoiser, shapes, mode, parameters, _size(network) - parameters, adapted)


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
        index = read_json(place / "model_index.json")
        part = next((part for part in ("unet", "transformer") if index.get(part)), "unet")
        return read_json(place / part / "config.json"), str(index.get("_class_name"))
    if (place / "config.json").is_file():
        return read_json(place / "config.json"), None
    raise ModelError(
        f"There is no config of a network at {place}. Give its config.json or the folder of it, or "
        "a pipeline's folder with model_index.json; weights are not needed."
    )


def _factor(place: Path, family: type[LatentDenoiser] | None) -> int:
    """Pixels per latent on a side: of the pipeline's autoencoder, or as most have it."""
    if family is None:
        return 1
    path = place / family.vae_part / "config.json"
    return 2 ** (len(read_json(path)["block_out_channels"]) - 1) if path.is_file() else FACTOR


def _family(
    name: str, config: Mapping[str, Any], pipeline: str | None, place: object
) -> type[LatentDenoiser] | None:
    """The family of a network; None: on pixels."""
    family = None if pipeline is None else family_of_pipeline(pipeline)
    if family is None and name != PIXELS:
        extended = config.get("addition_embed_type") == "text_time"
        family = StableDiffusionXL if extended else family_of_network(name)
    if name not in ((PIXELS,) if family is None else family.networks):
        raise ModelError(f"The network of {place} is a {name}; supported: {', '.join(SUPPORTED)}.")
    return family


class TimelessProcess(DiscreteProcess):
    """A process for timesteps that have no number; its scales are as large as real ones."""

    def signal_noise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones(len(t), dtype=torch.float64), torch.ones(len(t), dtype=torch.float64)


def _denoiser(network: Any, family: type[LatentDenoiser] | None, side: int | None) -> Denoiser:
    from diffusers import DDPMScheduler

    process = TimelessProcess.from_scheduler(DDPMScheduler())
    if family is not None:
        return family.bare(network, process, None if side is None else (side, side))
    if side is not None:
        network.register_to_config(sample_size=side)
    return UNetDenoiser(network, process)


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


def _kind(name: str) -> torch.dtype:
    whole = name in ("class_labels", "encoder_attention_mask")
    return torch.int64 if whole else torch.float32
