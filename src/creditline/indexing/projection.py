"""The fitted state of an index's feature extractor on disk: fitted once per index, then loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

from creditline import fingerprint
from creditline.data.image_set import ImageSet
from creditline.errors import DamageError, IndexMismatchError
from creditline.features.extractor import FeatureExtractor
from creditline.notice import notice
from creditline.runtime import Runtime
from creditline.stored_arrays import check_tensors, read_tensors, write_tensors

NAME = "projection.safetensors"
CURVATURE = "curvature"
ADVICE = "Restore it, or build the index again with --overwrite."


def fit_projection(
    folder: Path,
    extractor: FeatureExtractor,
    images: ImageSet,
    runtime: Runtime | None = None,
    curvature: Path | None = None,
) -> dict[str, Any]:
    """Fit an extractor to the training images, or load its state if `folder` has it.

    Args:
        folder: the index.
        extractor: of the index's features.
        images: the training images.
        runtime: where work runs, and what shows progress.
        curvature: folder of curvature that is fitted, or found there.

    Returns:
        Notes for the manifest: the blocks of a feature, and the fingerprint of the state.

    """
    digest = None
    if extractor.needs_fit:
        path = folder / NAME
        if not _is_fitted(path):
            extractor.fit(images, runtime, curvature)
            write_tensors(path, extractor.state(), save_file)
        digest = _load_state(path, extractor)
        extractor.check(images)  # what the fit made
    blocks = [[b.name, b.size, b.start, b.rows] for b in extractor.blocks]
    return {"blocks": blocks, "projection": digest}


def load_projection(
    folder: Path, extractor: FeatureExtractor, expected: str | None, feature_set: str = ""
) -> None:
    """Load the fitted state of an index into the extractor of its queries.

    Args:
        folder: the index.
        extractor: of the index's features.
        expected: the fingerprint that `fit_projection` returned.
        feature_set: the one of several that the extractor extracts; all of them by default.

    Raises:
        DamageError: if the stored file is missing or damaged.
        IndexMismatchError: if it is not the index's own.
    """
    if not extractor.needs_fit:
        return
    digest = _load_state(folder / NAME, extractor, feature_set)
    if digest != expected:
        raise IndexMismatchError(
            f"The features of {folder} were projected by {expected}, and its {NAME} holds "
            f"{digest}. Restore the file, or build the index again with --overwrite."
        )


def _is_fitted(path: Path) -> bool:
    """Whether a state is stored; one that is damaged is fitted again, with a warning."""
    try:
        check_tensors(path, "It is fitted again.")
    except DamageError as error:
        if path.exists():
            notice(str(error))
        return False
    return True


def _load_state(path: Path, extractor: FeatureExtractor, feature_set: str = "") -> str:
    """Load the state of an extractor and return the fingerprint of all that is stored."""
    arrays = read_tensors(path, load_file, ADVICE)
    prefix = f"{feature_set}/" if feature_set else ""
    extractor.load_state(
        {k.removeprefix(prefix): array for k, array in arrays.items() if k.startswith(prefix)}
    )
    return fingerprint.of_arrays(arrays.items())
