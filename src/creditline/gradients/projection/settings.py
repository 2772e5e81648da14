"""Settings of a projection."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from creditline.bounds import COUNT, SEED, Bounds
from creditline.errors import SettingsError
from creditline.gradients.parameters import Layer
from creditline.gradients.projection.registry import PROJECTORS, settings_of
from creditline.settings import setting, validate_settings

Budget = Literal["sqrt", "size", "variance"]


@dataclass(frozen=True)
class Projection:
    """How a gradient of `d` elements becomes a feature of `k`.

    `two-sided` projects each weight's gradient onto `rank` random directions of either side, of a
    convolution onto a patch sketch, then sketches the result. It never computes the gradient of a
    weight. `principal` does the same with directions that are fitted to training images.

    With the layout `layers`, `budget` decides the dimensions of a layer: in proportion to the
    square root of its size, its size, or the variance of its gradient over training images.

    Raises:
        SettingsError: on an unknown name, a dimension below 1, or a setting that the projection
            does not use.
    """

    projection: str = setting("two-sided", "kind of projection", choices=PROJECTORS.names)
    dim: int = setting(4096, "projection dimension k", bounds=COUNT)
    projection_seed: int = setting(0, "seed of the projection", bounds=SEED)
    layout: Literal["layers", "joint"] = setting(
        "joint", "project all layers jointly, or each by itself (less exact, scores by layer)"
    )
    budget: Budget = setting(
        "sqrt", "what a layer's dimensions are proportional to in the layout 'layers'"
    )
    rank: int = setting(
        64, "two-sided projections: directions of each side of a layer's weight", bounds=COUNT
    )
    learn_from: int = setting(
        64, "training images that directions or variances are fitted to", bounds=Bounds(2)
    )

    def __post_init__(self) -> None:
        validate_settings(self)
        for field in dataclasses.fields(self)[1:]:
            value = getattr(self, field.name)
            if value != field.default:
                self.require_use(field.name)

    def require_use(self, name: str) -> None:
        """Refuse a setting that the projection does not use.

        Raises:
            SettingsError: naming projections that use it.
        """
        if name in settings_of(self.projection):
            return
        others = [x for x in PROJECTORS.names() if name in settings_of(x)]
        raise SettingsError(
            f"Projection {self.projection!r} has no setting {name!r}; got {getattr(self, name)!r}. "
            f"Leave it out, or choose a projection that has it: {', '.join(others)}."
        )

    @property
    def projector(self) -> Any:
        """The subclass of `Projector` that projects."""
        return PROJECTORS.load(self.projection)

    @property
    def is_by_layer(self) -> bool:
        """Whether each layer is projected by itself."""
        return self.layout == "layers"

    @property
    def is_by_variance(self) -> bool:
        """Whether a layer's dimensions depend on the variance of its gradient."""
        return self.is_by_layer and self.budget == "variance"

    @property
    def needs_fit(self) -> bool:
        """Whether it depends on the training images."""
        return self.is_by_variance or self.projector.is_fitted

    def build(self, layers: Sequence[Layer], state: Any = None) -> Any:
        """Lay the projection out over the layers of a gradient; see `Projector.build`."""
        return self.projector.build(self, layers, state)
