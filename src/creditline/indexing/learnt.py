"""What a projection learnt from the training images, on disk: learnt once per index, then read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, IndexMismatchError
from creditline.files import write_file
from creditline.gradients.learnt import ProjectionState
from creditline.gradients.source import GradientSource

if TYPE_CHECKING:
    from creditline.indexing.build import FeatureExtractor

NAME = "projection.safetensors"


def settle(folder: Path, source: FeatureExtractor, images: ImageSet) -> dict[str, Any]:
    """Give a source what its projection depends on: from `folder` when it is there, else learnt.

    Args:
        folder: the index.
        source: any; most depend on nothing.
        images: the training images.

    Returns:
        Notes for the manifest: the blocks of a feature, and the fingerprint of what was learnt.

    Raises:
        CreditlineError: if the stored file is damaged.
    """
    if not isinstance(source, GradientSource):
        return {"blocks": [], "projection": None}
    digest = None
    if source.learns:
        path = folder / NAME
        if not path.is_file():
            source.learn(images)
            arrays = arrays_of(source.learnt)
            write_file(path, lambda aside: save_file(arrays, aside), overwrite=True)
        digest = _use(path, source)
        source.check(images)  # its engines, which were not there before
    blocks = [[b.name, b.size, b.start, b.rows] for b in source.projector.blocks]
    return {"blocks": blocks, "projection": digest}


def restore(folder: Path, source: FeatureExtractor, expected: str | None) -> None:
    """Give the source of queries what the projection of the index learnt.

    Args:
        folder: the index.
        source: any.
        expected: the fingerprint that `settle` returned.

    Raises:
        CreditlineError: if the stored file is missing or damaged.
        IndexMismatchError: if it is not the index's own.
    """
    if not isinstance(source, GradientSource) or not source.learns:
        return
    found = _use(folder / NAME, source)
    if found != expected:
        raise IndexMismatchError(
            f"The features of {folder} were projected by {expected}, and its {NAME} holds {found}. "
            "Restore the file, or build the index again with --overwrite."
        )


def arrays_of(learnt: Sequence[ProjectionState]) -> dict[str, np.ndarray]:
    """What is stored of what was learnt."""
    arrays = {f"{c}/variances": one.variances for c, one in enumerate(learnt)}
    for c, one in enumerate(learnt):
        arrays |= {f"{c}/{key}": basis for key, basis in one.directions.items()}
    return arrays


def _learnt(arrays: dict[str, np.ndarray], models: int) -> list[ProjectionState]:
    found = []
    for c in range(models):
        mine = {k.removeprefix(f"{c}/"): a for k, a in arrays.items() if k.startswith(f"{c}/")}
        found.append(ProjectionState(mine, mine.pop("variances")))
    return found


def _use(path: Path, source: GradientSource) -> str:
    """Read what was learnt and hand it over; returns its fingerprint."""
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CreditlineError(
            f"{path} is missing or damaged ({error}). Restore it, or build the index again with "
            "--overwrite."
        ) from error
    source.use(_learnt(arrays, source.models))
    return fingerprint.of_arrays(arrays.items())
