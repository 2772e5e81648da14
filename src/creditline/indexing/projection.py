"""The fitted state of an index's feature extractor on disk: fitted once per index, then loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.errors import CreditlineError, IndexMismatchError
from creditline.features.extractor import FeatureExtractor
from creditline.files import write_file
from creditline.runtime import Runtime

NAME = "projection.safetensors"


def fit_projection(
    folder: Path, extractor: FeatureExtractor, images: ImageSet, runtime: Runtime | None = None
) -> dict[str, Any]:
    """Fit an extractor to the training images, or load its state if `folder` has it.

    Args:
        folder: the index.
        extractor: of the index's features.
        images: the training images.
        runtime: shows progress.

    Returns:
        Notes for the manifest: the blocks of a feature, and the fingerprint of the state.

    Raises:
        CreditlineError: if the stored file is damaged.
    """
    digest = None
    if extractor.needs_fit:
        path = folder / NAME
        if not path.is_file():
            extractor.fit(images, runtime)
            arrays = extractor.state()
            write_file(path, lambda aside: save_file(arrays, aside), overwrite=True)
        digest = _load_state(path, extractor)
        extractor.check(images)  # what the fit made
    blocks = [[b.name, b.size, b.start, b.rows] for b in extractor.blocks]
    return {"blocks": blocks, "projection": digest}


def load_projection(folder: Path, extractor: FeatureExtractor, expected: str | None) -> None:
    """Load the fitted state of an index into the extractor of its queries.

    Args:
        folder: the index.
        extractor: of the index's features.
        expected: the fingerprint that `fit_projection` returned.

    Raises:
        CreditlineError: if the stored file is missing or damaged.
        IndexMismatchError: if it is not the index's own.
    """
    if not extractor.needs_fit:
        return
    digest = _load_state(folder / NAME, extractor)
    if digest != expected:
        raise IndexMismatchError(
            f"The features of {folder} were projected by {expected}, and its {NAME} holds "
            f"{digest}. Restore the file, or build the index again with --overwrite."
        )


def _load_state(path: Path, extractor: FeatureExtractor) -> str:
    """Load the state of an extractor and return its fingerprint."""
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CreditlineError(
            f"{path} is missing or damaged ({error}). Restore it, or build the index again with "
            "--overwrite."
        ) from error
    extractor.load_state(arrays)
    return fingerprint.of_arrays(arrays.items())
