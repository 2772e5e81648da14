"""Queries: whatever a user hands over, as pictures prepared like the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.data.template import caption_queries
from creditline.diffusion.generation import GenerationRecord, read_record, read_trajectory
from creditline.errors import DataError, SettingsError
from creditline.gradients.noised_batch import Trajectory
from creditline.indexing.regions import masked

T = TypeVar("T")


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

    def shares(self, positions: range) -> np.ndarray:
        """How much of some of the pictures counts, from 0 to 1; 1 without a region."""
        masks = self.images.masks
        each = [None if masks is None else masks[i] for i in positions]
        return np.array([1.0 if mask is None else mask.share for mask in each])


@dataclass(frozen=True)
class FeatureBlock:
    """Features of some queries; values and errors as in `QueryFeatures`.

    Attributes:
        shares: of each picture, how much of it counts; features do not shrink with it.
    """

    positions: range
    values: np.ndarray
    errors: np.ndarray | None
    shares: np.ndarray


@dataclass(frozen=True)
class QueryFeatures:
    """Features of queries, computed once and scored by as many methods and dampings as wanted.

    Attributes:
        queries: the pictures.
        values: float32 of shape `(m, units, C, k)`; units are 1, or t where timesteps are kept.
        errors: float32 of shape `(m, C, k)`, see `GradientExtractor.extract`; None where the noise
            has no halves.
        recipe: what decided them; an index refuses features made from another.
    """

    queries: Queries
    values: np.ndarray
    errors: np.ndarray | None
    recipe: Mapping[str, Any]

    def blocks(self, size: int) -> Iterator[FeatureBlock]:
        """`size` queries at a time."""
        for start in range(0, len(self.values), size):
            part = slice(start, min(start + size, len(self.values)))
            errors = None if self.errors is None else self.errors[part]
            positions = range(start, part.stop)
            shares = self.queries.shares(positions)
            yield FeatureBlock(positions, self.values[part], errors, shares)


def gather(
    source: Any,
    spec: ImageSpec,
    shape: tuple[int, int, int],
    runs: bool,
    classes: Sequence[str] | None = None,
    prompts: str | Sequence[str] | None = None,
    region: Any = None,
    template: str | None = None,
) -> Queries:
    """Prepare queries.

    Args:
        source: a path or several (pictures or folders), a Pillow image, an array, a tensor, a
            list of such, or an `ImageSet`.
        spec: how the training images were prepared.
        shape: `(C, H, W)` of the training images.
        runs: read sampling trajectories too.
        classes: names of the training images' classes, in order, where they have names.
        prompts: what the pictures were made from, one for all or one for each; by default their
            captions, or what their record says.
        region: the part of them that counts; see `creditline.indexing.regions`.
        template: that made the training images' captions, which makes those of pictures in files
            as well, where they have what it names; see `caption_queries`.

    Raises:
        DataError: if nothing is there, a picture does not come out in `shape`, or has a class
            that the training images do not know; if there are not as many prompts as pictures, or
            a region does not fit.
    """
    origins: list[Path | None]
    if isinstance(source, ImageSet):
        images, origins = source, [None] * len(source)
    elif isinstance(source, (str, Path)) or _all_paths(source):
        paths = [Path(p) for p in ([source] if isinstance(source, (str, Path)) else source)]
        images, origins = _prepared(lambda s: _from_paths(paths, s), spec, shape)
        images = caption_queries(images, template)
    else:
        listed = _listed(source)
        images = _prepared(lambda s: ImageSet.from_images(listed, spec=s), spec, shape)
        origins = [None] * len(images)
    if images.shape != shape:
        raise DataError(
            f"The index is of images of shape {shape}; the queries have {images.shape}. Generate "
            "them with the indexed model, or prepare them to that size first."
        )
    if prompts is not None:
        images = _prompted(images, prompts)
    if region is not None:
        images = masked(images, region)
    return _with_records(_numbered(images, classes), origins, runs)


def _prepared(load: Callable[[ImageSpec], T], spec: ImageSpec, shape: tuple[int, int, int]) -> T:
    """Pictures that have the final size as they are, others prepared like the training images.

    A generated picture is finished; cutting its middle out once more would be wrong.
    """
    finished = ImageSpec(background=spec.background)
    if shape[1] == shape[2]:
        finished = replace(finished, size=shape[1], crop="none")
    try:
        return load(finished)
    except DataError:
        if spec.size is None:
            raise
        return load(spec)


def _numbered(images: ImageSet, classes: Sequence[str] | None) -> ImageSet:
    """Class numbers as in training: named classes were numbered among the queries alone."""
    names = images.label_names
    if names is None:
        return images
    if classes is None:  # names that mean nothing here; a conditional model asks for numbers
        return _relabeled(images, [None] * len(images), None)
    strangers = sorted(set(names) - set(classes))
    if strangers:
        raise DataError(
            f"The queries' classes are called {', '.join(strangers)}; those of the training images "
            f"are {', '.join(classes)}. Use these, or class numbers."
        )
    return _relabeled(
        images, [x if x is None else classes.index(names[x]) for x in images.labels], classes
    )


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
    if len(paths) == 1 and paths[0].is_dir():
        images = load_images(paths[0], spec)
        return images, [paths[0] / name for name in images.names]
    files: list[Path] = []
    for path in paths:
        inside = load_images(path, spec).names if path.is_dir() else None
        files += [path] if inside is None else [path / name for name in inside]
    return load_images(files, spec), list(files)


def _with_records(images: ImageSet, origins: Sequence[Path | None], runs: bool) -> Queries:
    """Look beside each file for the record that `creditline generate` wrote."""
    records: dict[Path, GenerationRecord | None] = {}
    details: list[Mapping[str, Any]] = []
    trajectories: list[Trajectory | None] = []
    for origin in origins:
        record = None
        if origin is not None:
            if origin.parent not in records:
                records[origin.parent] = read_record(origin.parent)
            record = records[origin.parent]
        if origin is None or record is None or origin.name not in record.files:
            details.append({})
            trajectories.append(None)
            continue
        details.append(record.details(origin.name))
        kept = runs and record.trajectory
        trajectories.append(
            Trajectory(*read_trajectory(origin.parent, origin.name)) if kept else None
        )
    return Queries(_completed(images, details), tuple(trajectories), tuple(details))


def _completed(images: ImageSet, details: Sequence[Mapping[str, Any]]) -> ImageSet:
    """Class and prompt each picture was generated from, where the picture itself has none."""

    def filled(values: Sequence[Any], key: str) -> list[Any]:
        return [
            detail.get(key) if value is None else value
            for value, detail in zip(values, details, strict=True)
        ]

    labels, texts = filled(images.labels, "label"), filled(images.texts, "prompt")
    return _relabeled(images, labels, images.label_names, texts)


def _prompted(images: ImageSet, prompts: str | Sequence[str]) -> ImageSet:
    """Pictures with other captions."""
    texts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
    texts = texts * len(images) if len(texts) == 1 else texts
    if len(texts) != len(images):
        raise DataError(
            f"{len(images)} pictures need one prompt, or {len(images)}; got {len(texts)}."
        )
    return _relabeled(images, images.labels, images.label_names, texts)


def _relabeled(
    images: ImageSet,
    labels: Sequence[int | None],
    names: Sequence[str] | None,
    texts: Sequence[str | None] | None = None,
) -> ImageSet:
    texts = images.texts if texts is None else texts
    if list(images.labels) == list(labels) and list(images.texts) == list(texts):
        return images
    return ImageSet.from_images(
        images.array(),
        names=images.names,
        contributors=images.contributors,
        texts=texts,
        labels=labels,
        label_names=names,
        # Prepared already: nothing is cut out of the middle once more.
        spec=replace(images.spec, center_crop=None),
        source=images.source,
    ).with_masks(images.masks)


def without_halves(which: str) -> SettingsError:
    """The refusal of what needs the error of a score, where one side has none.

    Args:
        which: in words.
    """
    return SettingsError(
        f"The error of a score needs two halves of the noise on both sides, and {which}. Index "
        "with two or more evaluations of an image (timesteps x draws), without --no-halves, and "
        "keep no timesteps apart."
    )
