"""Explicit gradients in memory, and projections of them, for comparing projections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from creditline.data.image_set import ImageSet
from creditline.features.few_bits import FewBitCode
from creditline.features.gradients import GradientExtractor
from creditline.gradients.noise_plan import Role
from creditline.gradients.parameters import Layer
from creditline.gradients.projection import Projection
from creditline.gradients.projection.rotation import RandomRotation
from creditline.gradients.projection.state import ProjectionState, rows_to_fit
from creditline.runtime import Runtime

ROWS = 16


def extract(
    source: GradientExtractor,
    images: ImageSet,
    indices: Sequence[int],
    role: Role,
    label: str,
    runtime: Runtime,
) -> np.ndarray:
    """Extract features of one model, float32 of shape `(b, k)`, image by image."""
    features = np.empty((len(indices), source.dim), dtype=np.float32)
    with runtime.progress(label, len(indices), "image") as bar:
        for row, i in enumerate(indices):
            features[row] = source.extract(images, [i], role)[0, 0, 0]
            bar.advance()
    return features


def project(
    layers: Sequence[Layer], projection: Projection, train: np.ndarray, query: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project the explicit gradients of training images and queries.

    Args:
        layers: of the gradients.
        projection: settings; one that is fitted uses the training gradients that an index would
            use.
        train, query: explicit gradients, float32 of shape `(n, d)` and `(m, d)`.

    Returns:
        float32 of shape `(n, k)` and `(m, k)`.

    Raises:
        SettingsError: if the dimension does not fit the layers.
    """
    projector = projection.build(layers, _projection_state(layers, projection, train))
    two_sided, features = projector.two_sided, []
    for gradients in (train, query):
        # Dense matrices are drawn anew for every batch.
        step = ROWS if projector.batch == 1 else len(gradients)
        parts = []
        for i in range(0, len(gradients), step):
            flat = _split(layers, gradients[i : i + step])
            parts.append(projector.project(flat if two_sided is None else two_sided.project(flat)))
        features.append(torch.cat(parts).numpy())
    return features[0], features[1]


def store(
    train: np.ndarray, query: np.ndarray, bits: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Round features of training images to what an index stores.

    Args:
        train, query: features, float32 of shape `(n, k)` and `(m, k)`.
        bits: of each number: 16, or fewer, which are codes of rotated features.
        seed: of the rotation.

    Returns:
        What is stored of the training images, and features of the queries that it is multiplied
        with.
    """
    if bits == 16:
        return train.astype(np.float16).astype(np.float32), query
    rotation, code = RandomRotation(train.shape[1], seed), FewBitCode(bits)
    own, other = (rotation(torch.from_numpy(x)).numpy() for x in (train, query))
    return code.decode(*code.encode(own)).astype(np.float32), other


def _projection_state(
    layers: Sequence[Layer], projection: Projection, train: np.ndarray
) -> ProjectionState | None:
    if not projection.needs_fit:
        return None
    rows = rows_to_fit(len(train), projection.learn_from)
    return ProjectionState.fit(projection, layers, (_split(layers, train[i]) for i in rows))


def _split(layers: Sequence[Layer], gradients: np.ndarray) -> list[Tensor]:
    return list(torch.from_numpy(gradients).split([layer.size for layer in layers], dim=-1))
