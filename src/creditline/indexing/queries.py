"""Queries: whatever a user hands over, as pictures prepared like the training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.data.load import load_images
from creditline.data.spec import ImageSpec
from creditline.diffusion.sample import read_record, trajectory
from creditline.errors import DataError
from creditline.gradients.probe import Trajectory


@dataclass(frozen=True)
class Queries:
    """Pictures to be traced.

    Attributes:
        images: the pictures.
        trajectories: sampling run of each, where one was kept.
        details: what is known of how each was made: seed, steps, prompt.
    """

    images: ImageSet
    trajectories: tuple[Trajectory | None, ...]
    details: tuple[Mapping[str, Any], ...]


def gather(source: Any, spec: ImageSpec, shape: tuple[int, int, int], runs: bool) -> Queries:
    """Prepare queries.

    Args:
        source: a path or several (pictures or folders), a Pillow image, an array, a tensor, a
            list of such, or an `ImageSet`.
        spec: how the training images were prepared.
        shape: `(C, H, W)` of the training images.
        runs: read sampling trajectories too.

    Raises:
        DataError: if nothing is there, or a picture does not come out in `shape`.
    """
    if spec.size is None and shape[1] == shape[2]:
        spec = replace(spec, size=shape[1], crop="none")
    if isinstance(source, ImageSet):
        images, origins = source, [None] * len(source)
    elif isinstance(source, (str, Path)) or _all_paths(source):
        paths = [source] if isinstance(source, (str, Path)) else list(source)
        images, origins = _from_paths([Path(p) for p in paths], spec)
    else:
        images = ImageSet.from_images(_listed(source), spec=spec)
        origins = [None] * len(images)
    if images.shape != shape:
        raise DataError(
            f"The index is of images of shape {shape}; the queries have {images.shape}. Generate "
            "them with the indexed model, or prepare them to that size first."
        )
    return _with_records(images, origins, runs)


def _all_paths(source: Any) -> bool:
    return (
        isinstance(source, Sequence)
        and len(source) > 0
        and all(isinstance(item, (str, Path)) for item in source)
    )


def _listed(source: Any) -> Any:
    """A single picture as a list of one; sequences and batches as they are."""
    if isinstance(source, (list, tuple)) or getattr(source, "ndim", 0) == 4:
        return source
    return [source]


def _from_paths(paths: Sequence[Path], spec: ImageSpec) -> tuple[ImageSet, list[Path | None]]:
    """Pictures of files and folders, in the order given, and the file each came from."""
    parts, origins = [], []
    for path in paths:
        part = load_images(path, **{f: getattr(spec, f) for f in spec.__dataclass_fields__})
        parts.append(part)
        folder = path if path.is_dir() else path.parent
        origins += [folder / name for name in part.names]
    return parts[0] if len(parts) == 1 else ImageSet.concatenate(parts), origins


def _with_records(images: ImageSet, origins: Sequence[Path | None], runs: bool) -> Queries:
    """Look beside each file for the record that `creditline generate` wrote."""
    records: dict[Path, Any] = {}
    details: list[Mapping[str, Any]] = []
    trajectories: list[Trajectory | None] = []
    for origin in origins:
        folder = origin.parent if origin is not None else None
        if folder is not None and folder not in records:
            records[folder] = read_record(folder)
        record = records[folder] if folder is not None else None
        known = record is not None and origin is not None and origin.name in record.files
        details.append(record.details(origin.name) if known and origin is not None else {})
        if known and runs and record.trajectory and origin is not None and folder is not None:
            trajectories.append(Trajectory(*trajectory(folder, origin.name)))
        else:
            trajectories.append(None)
    return Queries(images, tuple(trajectories), tuple(details))
