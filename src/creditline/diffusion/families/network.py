"""The base of all families: denoisers whose network is a class of diffusers."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from creditline.diffusion.adapters import describe_adapters
from creditline.diffusion.ddim import DDIMSampler
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.encoding_config import EncodingConfig
from creditline.diffusion.process import DiscreteProcess, Process
from creditline.diffusion.sampler import Sampler
from creditline.errors import ModelError


@dataclass(frozen=True)
class ConditionSpec:
    """Shape and type of a conditioning tensor.

    Attributes:
        shape: without the batch dimension.
        dtype: type of the elements.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class NetworkDenoiser(Denoiser):
    """A family of networks: the pipelines they come from, and how they are encoded and called.

    A family is one subclass in one file. It is registered in `creditline.diffusion.families`, or
    by an entry point of the group `creditline.families` in another package.

    Args:
        module: the network; put into evaluation mode.
        process: the diffusion process of its training.
        pipeline: the diffusers pipeline with its frozen components; None: there are none.
        encoding: how images and captions are encoded.
        source: the place it was loaded from, for manifests.

    Attributes:
        pipelines: names of the pipeline classes of diffusers.
        networks: names of the network classes of diffusers.
        component: name of the network among the pipeline's components.
        uses_pipeline: whether the denoiser needs more of a pipeline than network and scheduler.
        process_class: class of the diffusion process.
    """

    pipelines: ClassVar[tuple[str, ...]] = ()
    networks: ClassVar[tuple[str, ...]] = ()
    component: ClassVar[str] = "unet"
    uses_pipeline: ClassVar[bool] = True
    process_class: ClassVar[Any] = DiscreteProcess
    sampler: Sampler = DDIMSampler()

    def __init__(
        self,
        module: Any,
        process: Process,
        pipeline: Any = None,
        encoding: EncodingConfig | None = None,
        source: str | None = None,
    ) -> None:
        self.module = module.eval()
        self.process = process
        self.pipeline = pipeline
        self.encoding = encoding or EncodingConfig()
        self.source = source

    @classmethod
    def matches_network(cls, config: Mapping[str, Any]) -> bool:
        """Whether a network without a pipeline belongs to this family.

        Args:
            config: config of the network, with its class under `_class_name`.
        """
        return config.get("_class_name") in cls.networks

    @classmethod
    def require_pipeline(cls, network: str, pipeline: Any) -> None:
        """Refuse a network without its pipeline, before any weights are loaded.

        Args:
            network: class of the network.
            pipeline: its pipeline, or None.

        Raises:
            ModelError: if `pipeline` is None and the family needs one.
        """

    @classmethod
    @abstractmethod
    def for_estimates(
        cls, module: Any, process: Process, folder: Path, side: int | None = None
    ) -> Self:
        """Create a denoiser that predicts but does not encode, to estimate the network's cost.

        Args:
            module: the network; its tensors may have shapes only.
            process: any process.
            folder: the pipeline's folder, of which configs are read where they exist.
            side: height and width of the images in pixels; by default those of the config.
        """

    @classmethod
    def condition_specs(
        cls, config: Any, prompt_tokens: int | None = None
    ) -> Mapping[str, ConditionSpec]:
        """Return shape and type of every conditioning tensor, by name.

        Args:
            config: config of the network.
            prompt_tokens: tokens of a prompt; by default the pipeline's maximum.
        """
        return {}

    def _describe(self) -> dict[str, Any]:
        description = {"config": self._changed_config(), **super()._describe()}
        adapters = describe_adapters(self.module)
        return {**description, "adapters": adapters} if adapters else description

    def _changed_config(self) -> dict[str, Any]:
        """Return the network's settings that differ from diffusers' defaults.

        Later versions of diffusers add settings; at their defaults they change nothing.
        """
        parameters = signature(type(self.module).__init__).parameters.values()
        defaults = _as_json({p.name: p.default for p in parameters if p.default is not p.empty})
        config = _as_json({k: v for k, v in self.module.config.items() if not k.startswith("_")})
        return {
            key: value
            for key, value in config.items()
            if key not in defaults or value != defaults[key]
        }


def native_size(config: Any, remedy: str) -> tuple[int, int]:
    """Return height and width of a network's samples.

    Args:
        config: config of the network.
        remedy: what to do if the config does not say, for the error message.

    Raises:
        ModelError: if the config does not say.
    """
    size = config.sample_size
    if size is None:
        raise ModelError(
            "The model's config has no sample_size, so the size of its images is not known. "
            f"{remedy}"
        )
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    return height, width


def _as_json(config: dict[str, Any]) -> dict[str, Any]:
    """Convert a config to the form in which it is read from a file: lists instead of tuples."""
    return json.loads(json.dumps(config))
