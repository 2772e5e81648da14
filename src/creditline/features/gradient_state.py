"""What gradient features learn from training images under one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from creditline.gradients.engine import Engine
from creditline.gradients.noised_batch import NoisedBatch
from creditline.gradients.parameters import Layer
from creditline.gradients.preconditioning.preconditioner import Preconditioner
from creditline.gradients.projection.state import ProjectionState, share_variances
from creditline.gradients.spec import FeatureSpec

PRECONDITIONER, PROJECTION = "preconditioner/", "projection/"


@dataclass(frozen=True, eq=False)
class GradientState:
    """The fitted preconditioner and projection of one model.

    Attributes:
        preconditioner: None: gradients are not preconditioned.
        projection: None: the projection does not depend on the training images.
    """

    preconditioner: Preconditioner | None = None
    projection: ProjectionState | None = None

    @classmethod
    def fit(
        cls,
        spec: FeatureSpec,
        engine: Engine,
        preconditioner: Preconditioner | None,
        noised_images: Callable[[int], Iterator[NoisedBatch]],
    ) -> GradientState:
        """Fit the projection to preconditioned gradients.

        Args:
            spec: what is fitted.
            engine: computes explicit gradients.
            preconditioner: fitted.
            noised_images: yields a number of training images with their noise.
        """
        if not spec.projection.needs_fit:
            return cls(preconditioner)

        def gradients() -> Iterator[list[Tensor]]:
            for noised in noised_images(spec.projection.learn_from):
                layers = [layer[0] for layer in engine.gradients([noised])]
                layers = layers if preconditioner is None else preconditioner.apply(layers)
                yield [layer[0] for layer in layers]

        projection = ProjectionState.fit(spec.projection, engine.layers, gradients())
        return cls(preconditioner, projection)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is stored, by name."""
        matrices = {} if self.preconditioner is None else self.preconditioner.state()
        directions = {} if self.projection is None else self.projection.arrays()
        return {
            **{f"{PRECONDITIONER}{name}": array for name, array in matrices.items()},
            **{f"{PROJECTION}{name}": array for name, array in directions.items()},
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], spec: FeatureSpec, layers: Sequence[Layer]
    ) -> GradientState:
        """Restore what `arrays` returned."""
        preconditioner = make_preconditioner(spec, layers)
        if preconditioner is not None:
            preconditioner.load_state(select_prefix(arrays, PRECONDITIONER))
        if not spec.projection.needs_fit:
            return cls(preconditioner)
        projection = ProjectionState.from_arrays(select_prefix(arrays, PROJECTION))
        return cls(preconditioner, projection)


def share_layout(states: Sequence[GradientState]) -> tuple[GradientState, ...]:
    """Give the projections of all models one layout, so that their features are comparable.

    Args:
        states: one per model.
    """
    projections = [one.projection for one in states if one.projection is not None]
    if not projections:
        return tuple(states)
    shared = share_variances(projections)
    return tuple(
        replace(one, projection=projection) for one, projection in zip(states, shared, strict=True)
    )


def select_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names start with a prefix, by the rest of their names."""
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


def make_preconditioner(spec: FeatureSpec, layers: Sequence[Layer]) -> Preconditioner | None:
    """Return the preconditioner of a feature, not fitted; None: it has none."""
    settings = spec.preconditioning
    if not settings.is_active:
        return None
    preconditioner: Preconditioner = settings.preconditioner_class(settings, layers)
    return preconditioner
