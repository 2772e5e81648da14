"""What is done to explicit gradients of one model before they are projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from creditline.gradients.projection.two_sided import TwoSidedProjection


class GradientMap(Protocol):
    """A linear map of explicit gradients, such as a fitted preconditioner."""

    def apply(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Map gradients, one float32 tensor of shape `(b, d_l)` per layer."""


@dataclass(frozen=True, eq=False)
class GradientTransform:
    """A preconditioner, then a two-sided projection.

    Attributes:
        preconditioner: fitted.
        two_sided: None: the projection has none.
    """

    preconditioner: GradientMap
    two_sided: TwoSidedProjection | None

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Transform one tensor of shape `(b, d_l)` per layer."""
        preconditioned = self.preconditioner.apply(gradients)
        return preconditioned if self.two_sided is None else self.two_sided.project(preconditioned)
