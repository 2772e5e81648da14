"""Everything that decides a gradient feature, as one setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from creditline.bounds import COUNT, Bounds
from creditline.diffusion.precision import Precision
from creditline.errors import SettingsError
from creditline.gradients.noise_plan import NoisePlan
from creditline.gradients.objective import Objective
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.settings import require, setting, validate_settings
from creditline.units import bytes_of

BITS = (16, 8, 4, 2, 1)


@dataclass(frozen=True)
class GradientSpec:
    """Gradient `g(x) = mean_{t, eps} grad_theta f(x, t, eps)` (D-TRAK, section 2.2).

    With `normalize="timestep"` the gradient of each timestep, averaged over its draws, is divided
    by its Euclidean norm before the mean over timesteps (as in ReTrac and DAS): norms differ by
    orders of magnitude between timesteps, and a few would dominate.

    Raises:
        SettingsError: on an unknown name, a batch size below 1, or a size that is none.
    """

    objective: Objective = field(default_factory=Objective)
    plan: NoisePlan = field(default_factory=NoisePlan)
    parameters: str = setting(
        "trained",
        "parameters to differentiate: trained (adapters if there are any), adapters, "
        "cross-attention, or comma-separated shell patterns, '!' excludes",
    )
    normalize: Literal["none", "timestep"] = setting(
        "none", "normalize the gradient of each timestep before averaging"
    )
    engine: Literal["auto", "hooks", "autograd"] = setting(
        "auto", "how gradients are computed; affects cost and rounding only"
    )
    precision: Precision = setting(
        "fp32", "precision of the network; tf32 on GPUs, bf16 and fp16 by autocast"
    )
    batch_size: int | None = setting(
        None,
        "evaluations of the network in a pass; none: as many as pass_memory allows",
        bounds=COUNT,
    )
    pass_memory: str = setting("4GB", "memory limit of a pass, without the weights")

    def __post_init__(self) -> None:
        validate_settings(self)
        if not self.parameters.strip(" ,"):
            raise SettingsError("parameters names no parameter. Leave it out for all that train.")
        bytes_of(self.pass_memory)


@dataclass(frozen=True)
class FeatureSpec(GradientSpec):
    """Feature `phi(x) = P C g(x)` of a gradient, preconditioned by `C` and projected by `P`.

    Raises:
        SettingsError: as `GradientSpec`, and on a number of bits that is not one of `BITS`.
    """

    projection: Projection = field(default_factory=Projection)
    preconditioning: Preconditioning = field(default_factory=Preconditioning)
    bits: int = setting(
        16,
        "bits of each stored number: 16, or 8, 4, 2 or 1, with which more numbers fit",
        bounds=Bounds(1, 16),
    )
    halves: bool = setting(
        True, "store a split-half noise estimate, from which scores get their errors"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.bits in BITS, "bits are one of 16, 8, 4, 2, 1", self.bits, "Try 1 or 16.")

    @property
    def needs_fit(self) -> bool:
        """Whether features depend on the training images."""
        return self.projection.needs_fit or self.preconditioning.is_active

    @property
    def has_halves(self) -> bool:
        """Whether features have a split-half noise estimate; one evaluation has none."""
        return self.halves and self.halvable(self.plan.timesteps, self.plan.draws)

    def halvable(self, timesteps: int, draws: int) -> bool:
        """Whether that many evaluations of an image can be split into two halves."""
        return timesteps * (1 if self.normalize == "timestep" else draws) >= 2
