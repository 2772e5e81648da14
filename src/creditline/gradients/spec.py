"""Everything that decides what a gradient feature is, as one setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from creditline.diffusion.precision import Precision
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.gradients.projection import Projection
from creditline.settings import require, setting, validate_choices
from creditline.units import bytes_of


@dataclass(frozen=True)
class FeatureSpec:
    """Feature `phi(x) = P mean_{t, eps} grad_theta f(x, t, eps)` (D-TRAK, section 2.2).

    With `normalize="timestep"` the gradient of each timestep, averaged over its draws, is divided
    by its Euclidean norm before the mean over timesteps (as in ReTrac and DAS): norms differ by
    orders of magnitude between timesteps, and a few would dominate.

    Raises:
        SettingsError: on an unknown name, a batch size below 1, or a size that is none.
    """

    objective: Objective = field(default_factory=Objective)
    plan: NoisePlan = field(default_factory=NoisePlan)
    projection: Projection = field(default_factory=Projection)
    parameters: str = setting(
        "trained",
        "parameters to differentiate: trained (adapters, where there are any), adapters, "
        "cross-attention, or comma-separated shell patterns, '!' excludes",
    )
    normalize: Literal["none", "timestep"] = setting(
        "none", "give the gradient of each timestep unit norm before averaging"
    )
    engine: Literal["auto", "hooks", "autograd"] = setting(
        "auto", "how gradients are taken; changes their cost and their last digits only"
    )
    precision: Precision = setting(
        "fp32", "of the network's arithmetic; tf32 on GPUs, bf16 and fp16 by autocast"
    )
    batch_size: int | None = setting(
        None, "evaluations of the network in a pass; none: as many as pass_memory allows"
    )
    pass_memory: str = setting("4GB", "most memory that a pass may take, besides the weights")
    halves: bool = setting(
        True, "keep what two halves of the noise differ by: without it no score has an error"
    )

    def __post_init__(self) -> None:
        validate_choices(self)
        size = 1 if self.batch_size is None else self.batch_size
        require(size >= 1, "batch_size must be at least 1", self.batch_size, "Try 16.")
        bytes_of(self.pass_memory)

    @property
    def has_halves(self) -> bool:
        """Whether the noise of an image is kept in two halves; one evaluation has none."""
        return self.halves and self.halvable(self.plan.timesteps, self.plan.draws)

    def halvable(self, timesteps: int, draws: int) -> bool:
        """Whether so many evaluations of an image can be parted into two halves."""
        return timesteps * (1 if self.normalize == "timestep" else draws) >= 2
