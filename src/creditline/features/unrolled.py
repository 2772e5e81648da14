"""Gradient features of SOURCE: filtered by how training went on from each checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.training_schedule import TrainingSchedule, training_schedule
from creditline.errors import ModelError
from creditline.features.gradients import GradientExtractor
from creditline.features.residuals import mean_loss
from creditline.gradients.engine import Engine
from creditline.gradients.noise_plan import Role
from creditline.gradients.preconditioning.diagonal_fisher import DiagonalFisher, require_array
from creditline.gradients.preconditioning.transform import GradientTransform
from creditline.gradients.preconditioning.unrolling import (
    Segment,
    UnrolledQuery,
    adam_horizons,
)
from creditline.gradients.spec import FeatureSpec
from creditline.runtime import Runtime

HORIZONS = "horizons"
LOSS_IMAGES = 64
"""Training images whose loss is averaged at each checkpoint."""


def horizons_at(
    denoiser: Denoiser,
    curvature: DiagonalFisher,
    images: ImageSet,
    spec: FeatureSpec,
    segment: TrainingSchedule,
) -> list[float]:
    """Return the horizon of each layer of the training that leads to a checkpoint.

    Args:
        denoiser: the checkpoint.
        curvature: fitted there.
        images: the training images.
        spec: noise plan and precision, in which the training loss is measured.
        segment: learning rates and batches.

    Raises:
        NumericsError: if a loss is not finite.
    """
    loss, outputs = mean_loss(denoiser, images, spec, LOSS_IMAGES)
    return adam_horizons(curvature, segment.rate_sum, segment.batch_size, loss, outputs)


class UnrolledExtractor(GradientExtractor):
    """Features whose inner products sum over the segments of a training run.

    A checkpoint stands for the segment of training that ends there. A training image has its
    gradient at each checkpoint. A query has its gradient at the last one, carried back to each
    segment.
    """

    def fit(
        self, images: ImageSet, runtime: Runtime | None = None, folder: Path | None = None
    ) -> None:
        """Fit the curvature at each checkpoint, and horizons from the run's schedule.

        Raises:
            SettingsError: if the models are no checkpoints of a run of `creditline train`.
            ModelError: if they are not one run's, in order.
        """
        schedules = self._schedules()
        super().fit(images, runtime, folder)
        horizons, before = [], 0.0
        for denoiser, state, schedule in zip(self.denoisers, self.states, schedules, strict=True):
            curvature: Any = state.preconditioner
            segment = replace(schedule, rate_sum=schedule.rate_sum - before)
            horizons.append(horizons_at(denoiser, curvature, images, self.spec, segment))
            before = schedule.rate_sum
        self._unroll(horizons)

    def _schedules(self) -> list[TrainingSchedule]:
        schedules = [training_schedule(denoiser.source) for denoiser in self.denoisers]
        steps = [schedule.step for schedule in schedules]
        if len({schedule.run for schedule in schedules}) > 1 or steps != sorted(set(steps)):
            raise ModelError(
                "SOURCE takes checkpoints of one training run in order, each once; got "
                + ", ".join(str(denoiser.source) for denoiser in self.denoisers)
                + f" after {', '.join(map(str, steps))} steps."
            )
        return schedules

    def state(self) -> dict[str, np.ndarray]:
        own = {
            f"{c}/{HORIZONS}": np.array(values, np.float32)
            for c, values in enumerate(self.horizons)
        }
        return {**super().state(), **own}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().load_state(arrays)
        shape = (len(self.layers),)
        names = [f"{c}/{HORIZONS}" for c in range(self.models)]
        self._unroll([require_array(arrays, name, shape).tolist() for name in names])

    def _unroll(self, horizons: Sequence[Sequence[float]]) -> None:
        self.horizons = [list(values) for values in horizons]
        two_sided = self.projector.two_sided
        segments = [
            Segment(state.preconditioner, values)  # type: ignore[arg-type]
            for state, values in zip(self.states, self.horizons, strict=True)
        ]
        self._transforms = [GradientTransform(segment, two_sided) for segment in segments]
        self._query_transforms = [
            GradientTransform(UnrolledQuery(segment, segments[c + 1 :]), two_sided)
            for c, segment in enumerate(segments)
        ]

    def _passes(self, role: Role) -> list[tuple[Engine, GradientTransform | None]]:
        if role == "train":
            return super()._passes(role)
        return [(self._query_engines[-1], transform) for transform in self._query_transforms]
