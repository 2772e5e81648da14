"""Settings of a preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from creditline.bounds import COUNT, POSITIVE, SEED
from creditline.errors import SettingsError
from creditline.registry import EntryPointRegistry
from creditline.settings import setting, validate_settings

NONE = "none"
PRECONDITIONERS = EntryPointRegistry(
    "preconditioner",
    "creditline.preconditioners",
    {
        "ekfac": "creditline.gradients.preconditioning.ekfac:EKFAC",
        "kfac": "creditline.gradients.preconditioning.kfac:KFAC",
        "diagonal-fisher": "creditline.gradients.preconditioning.diagonal_fisher:DiagonalFisher",
    },
)

DRAWS = 1000
"""Evaluations of training images in each pass of a fit; 4,000 gave the same LDS."""


def preconditioner_names() -> tuple[str, ...]:
    """List the names of all preconditioners; `none` leaves gradients as they are."""
    return (NONE, *PRECONDITIONERS.names())


@dataclass(frozen=True)
class Preconditioning:
    """How the gradient is preconditioned before it is projected.

    A preconditioner multiplies the gradient by the inverse square root of an estimate of the
    curvature of the training loss. The estimate is an average over evaluations of training images
    at random timesteps. It needs explicit gradients, so a two-sided projection no longer spares
    their computation.

    With targets of the model the curvature is the Gauss-Newton matrix of the network: outputs are
    sampled around the network's own, so it does not depend on noise targets. With targets of the
    data it is the empirical Fisher matrix of the training loss.

    Raises:
        SettingsError: on an unknown name, a number out of range, or another setting without a
            preconditioner.
    """

    preconditioner: str = setting(
        NONE,
        "preconditioner of gradients before the projection: the curvature's estimate",
        choices=preconditioner_names,
    )
    preconditioner_damping: float = setting(
        0.01, "damping of the curvature, in units of its mean eigenvalue", bounds=POSITIVE
    )
    preconditioner_damping_unit: Literal["layer", "model"] = setting(
        "layer", "mean eigenvalue that damping is relative to: of each layer, or of all layers"
    )
    preconditioner_filter: Literal["damped", "unrolled"] = setting(
        "damped",
        "damped: divide by damped eigenvalues; unrolled: by those that training had time for, from "
        "checkpoint to checkpoint",
    )
    preconditioner_draws: int = setting(
        DRAWS, "evaluations of training images in each pass of the curvature's fit", bounds=COUNT
    )
    preconditioner_targets: Literal["model", "data"] = setting(
        "model", "model: the Gauss-Newton matrix; data: the empirical Fisher matrix"
    )
    preconditioner_noise: Literal["independent", "stratified"] = setting(
        "independent",
        "independent timesteps and noise, or within an image timesteps spread evenly and noise in "
        "opposite pairs, where it has several evaluations",
    )
    preconditioner_sharing: Literal["expand", "reduce"] = setting(
        "expand", "what a weight sees at several positions: separate inputs, or their mean"
    )
    preconditioner_seed: int = setting(0, "seed of the curvature's evaluations", bounds=SEED)

    def __post_init__(self) -> None:
        validate_settings(self)
        if self.is_active:
            self._require_damping_to_act()
            return
        for name, value in vars(self).items():
            default = getattr(type(self), name)
            if value != default:
                raise SettingsError(
                    f"Without a preconditioner {name} has no effect; got {value!r}. Leave it out, "
                    f"or choose a preconditioner: {', '.join(PRECONDITIONERS.names())}."
                )

    def _require_damping_to_act(self) -> None:
        """Refuse damping beside the unrolled filter, which has none."""
        for name in ("preconditioner_damping", "preconditioner_damping_unit"):
            value, default = getattr(self, name), getattr(type(self), name)
            if self.preconditioner_filter == "unrolled" and value != default:
                raise SettingsError(
                    f"The unrolled filter has no damping, so {name} has no effect; got {value!r}. "
                    "Leave it out, or use preconditioner_filter='damped'."
                )

    @property
    def is_active(self) -> bool:
        """Whether gradients are preconditioned at all."""
        return self.preconditioner != NONE

    @property
    def preconditioner_class(self) -> Any:
        """The subclass of `Preconditioner` to use."""
        return PRECONDITIONERS.load(self.preconditioner)
