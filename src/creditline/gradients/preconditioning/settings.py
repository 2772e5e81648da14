"""Settings of a preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from creditline.bounds import COUNT, POSITIVE
from creditline.registry import EntryPointRegistry
from creditline.settings import setting, validate_settings

NONE = "none"
PRECONDITIONERS = EntryPointRegistry(
    "preconditioner",
    "creditline.preconditioners",
    {"diagonal-fisher": "creditline.gradients.preconditioning.diagonal_fisher:DiagonalFisher"},
)


def preconditioner_names() -> tuple[str, ...]:
    """List the names of all preconditioners; `none` leaves gradients as they are."""
    return (NONE, *PRECONDITIONERS.names())


@dataclass(frozen=True)
class Preconditioning:
    """How the gradient is preconditioned before it is projected.

    A preconditioner multiplies the gradient by a matrix that is fitted to training images, such as
    the inverse square root of an estimate of the model's curvature. It needs explicit gradients, so
    a two-sided projection no longer spares their computation.

    Raises:
        SettingsError: on an unknown name, a damping that is not positive, or no images.
    """

    preconditioner: str = setting(
        NONE, "preconditioner of gradients before the projection", choices=preconditioner_names
    )
    preconditioner_damping: float = setting(
        0.1, "damping of the preconditioner, in units of its mean in each layer", bounds=POSITIVE
    )
    preconditioner_images: int = setting(
        64, "training images that the preconditioner is fitted to", bounds=COUNT
    )

    def __post_init__(self) -> None:
        validate_settings(self)

    @property
    def is_active(self) -> bool:
        """Whether gradients are preconditioned at all."""
        return self.preconditioner != NONE

    @property
    def preconditioner_class(self) -> Any:
        """The subclass of `Preconditioner` to use."""
        return PRECONDITIONERS.load(self.preconditioner)
