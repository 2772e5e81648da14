"""The interface of every projection.

Every random projection `P` is scaled so that inner products are unbiased, `E<Pu, Pv> = <u, v>`,
with standard deviation about `sqrt((|u|^2 |v|^2 + <u, v>^2) / k)`. Entries are drawn with numpy
from a counter-based generator keyed by (seed, kind, layer name), so they are the same on every
device.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import torch
from torch import Tensor

from creditline.gradients.projection.accumulator import FeatureSink, ProjectedAccumulator
from creditline.gradients.projection.layout import Block, lay_out
from creditline.gradients.projection.registry import SKETCH
from creditline.settings import require

if TYPE_CHECKING:
    import numpy as np

    from creditline.gradients.parameters import Layer
    from creditline.gradients.projection.settings import Projection
    from creditline.gradients.projection.state import GradientStatistic, ProjectionState
    from creditline.gradients.projection.two_sided import TwoSidedProjection


class Projector(ABC):
    """A projection laid out over the layers of one model.

    To add one, subclass it, implement `project_block` and register the class (see `registry`).

    Class attributes:
        settings: names of the `Projection` settings that it uses; others are refused.
        is_fitted: whether it depends on gradients of training images (`statistic`).
        is_exact: whether the feature is the gradient itself.
        streams: whether `sink` projects gradients parameter by parameter, so that explicit
            gradients are never complete in memory.
        batch: how many gradients to project at once for good speed.

    Args:
        blocks: boundaries of every block within the feature.
        seed: of the projection.
        two_sided: what the engine applies to each weight's gradient first; None: nothing.

    Attributes:
        dim: feature dimension k.
    """

    settings: ClassVar[tuple[str, ...]] = SKETCH
    is_fitted: ClassVar[bool] = False
    is_exact: ClassVar[bool] = False
    streams: ClassVar[bool] = False
    batch: ClassVar[int] = 1

    def __init__(
        self, blocks: Sequence[Block], seed: int, two_sided: TwoSidedProjection | None = None
    ) -> None:
        self.blocks = tuple(blocks)
        self.dim = sum(block.rows for block in blocks)
        self.seed = seed
        self.two_sided = two_sided

    @classmethod
    def build(
        cls, settings: Projection, layers: Sequence[Layer], state: ProjectionState | None = None
    ) -> Self:
        """Lay the projection out over the layers of a gradient.

        Args:
            settings: of the projection.
            layers: of the gradient.
            state: what was fitted to training images, where the settings need it.

        Raises:
            SettingsError: if the dimension does not fit the layers, or the state is missing.
        """
        require(
            state is not None or not settings.needs_fit,
            "This projection depends on the training images and is not fitted",
            settings.projection,
            "Fit it to training images first (GradientExtractor.fit).",
        )
        blocks = lay_out(settings, layers, None if state is None else state.variances)
        directions = {} if state is None else state.directions
        two_sided = cls.make_two_sided(settings, layers, directions)
        return cls(blocks, settings.projection_seed, two_sided)

    @classmethod
    def input_sizes(cls, settings: Projection, layers: Sequence[Layer]) -> list[int]:
        """Return the number of coordinates of each layer that reach `project`."""
        return [layer.size for layer in layers]

    @classmethod
    def statistic(cls, settings: Projection, layers: Sequence[Layer]) -> GradientStatistic | None:
        """Make the statistic of training gradients that it is fitted to; None: there is none."""
        return None

    @classmethod
    def make_two_sided(
        cls, settings: Projection, layers: Sequence[Layer], directions: Mapping[str, np.ndarray]
    ) -> TwoSidedProjection | None:
        """Make the projection that the engine applies to each weight's gradient.

        Args:
            settings: of the projection.
            layers: of the gradient.
            directions: what `statistic` computed from the training gradients.
        """
        return None

    def project(self, gradients: Sequence[Tensor]) -> Tensor:
        """Project a batch of gradients.

        Args:
            gradients: one float32 tensor of shape `(b, d_l)` per layer, in layer order; after the
                two-sided projection if there is one.

        Returns:
            Features, float32 of shape `(b, k)`.
        """
        is_joint = len(self.blocks) == 1
        pieces = [gradients] if is_joint else [[gradient] for gradient in gradients]
        features = [
            torch.cat(list(group), dim=1) if block.is_exact else self.project_block(block, group)
            for block, group in zip(self.blocks, pieces, strict=True)
        ]
        return torch.cat(features, dim=1)

    @abstractmethod
    def project_block(self, block: Block, pieces: Sequence[Tensor]) -> Tensor:
        """Project one block, given in pieces that make up `(b, size)`, to `(b, rows)`."""

    def sink(self, layers: Sequence[Layer], factors: Tensor) -> FeatureSink:
        """Make a sink that turns gradients into features.

        By default it accumulates explicit gradients and projects them at the end.

        Args:
            layers: of the gradients.
            factors: multiplies each gradient in the end, float32 of shape `(n,)`, on the device of
                the gradients.
        """
        return ProjectedAccumulator(layers, self.two_sided, factors, self.project)
