"""What models and schedulers can be loaded from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from creditline.diffusion.denoiser import Denoiser


class PipelineLike(Protocol):
    """A `diffusers.DiffusionPipeline`, or an object with the same parts."""

    @property
    def components(self) -> dict[str, Any]: ...


class SchedulerLike(Protocol):
    """A scheduler of diffusers."""

    @property
    def config(self) -> Any: ...


ModelSource = str | Path | nn.Module | PipelineLike | Denoiser
"""A model folder, a run folder, a network, a pipeline, or a loaded `Denoiser`; see `load_model`."""

SchedulerSource = str | Path | Mapping[str, Any] | SchedulerLike
"""A scheduler's folder, its config, or the scheduler."""
