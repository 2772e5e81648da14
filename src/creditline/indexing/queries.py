"""Query images: whatever a user gives, prepared like the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.in_memory import InMemoryImage
from creditline.data.load import load_images
from creditline.data.metadata_spec import MetadataSpec
from creditline.data.plain_values import CaptionChoice
from creditline.data.template import caption_queries
from creditline.diffusion.generation import GenerationRecord, read_record, read_trajectory
from creditline.errors import DataError, SettingsError
from creditline.gradients.noised_batch import Trajectory
from creditline.indexing.regions import RegionSource, add_masks

T = TypeVar("T")


QueryImage = str | Path | InMemoryImage
QuerySource = QueryImage | Sequence[QueryImage] | ImageSet
"""Paths, folders, Pillow images, arrays or tensors, lists of these, or an `ImageSet`."""


@dataclass(frozen=True)
class Queries:
    """Query images.

    Attributes:
        images: the images.
        trajectories: sampling run of each, where it was recorded.
        details: what is known of how each was generated: seed, steps, prompt.
    """

    images: ImageSet
    trajectories: tuple[Trajectory | None, ...]
    details: tuple[Mapping[str, Any], ...]

    def shares(self, positions: range) -> np.ndarray:
        """Share of some of the images that is traced, from 0 to 1; 1 without a region."""
        masks = self.images.masks
        each = [None if masks is None else masks[i] for i in positions]
        return np.array([1.0 if mask is None else mask.share for mask in each])


@dataclass(frozen=True)
class QueryBlock:
    """Some query images and their features; values and errors as in `QueryFeatures`.

    Attributes:
        positions: among all queries.
        images: the query images.
        shares: share of each image that is traced; the norm of a feature does not depend on it.
    """

    positions: range
    images: ImageSet
    values: np.ndarray | None
    errors: np.ndarray | None
    shares: np.ndarray


@dataclass(frozen=True)
class QueryFeatures:
    """Features of queries, computed once and scored by several methods and dampings.

    Attributes:
        queries: the query images.
        values: float32 of shape `(m, units, C, k)`; units are 1, or t where timesteps are kept.
            None for methods that score images without features.
        errors: float32 of shape `(m, C, k)`, a sample of the error of each feature; None where the
            noise was not halved.
        recipe: everything that decided the features; an index refuses those of another recipe.
    """

    queries: Queries
    values: np.ndarray | None
    errors: np.ndarray | None
    recipe: Mapping[str, Any]

    def blocks(self, size: int) -> Iterator[QueryBlock]:
        """Blocks of `size` queries."""
        m = len(self.queries.images)
        for start in range(0, m, size):
            part = slice(start, min(start + size, m))
            values, errors = (x if x is None else x[part] for x in (self.values, self.errors))
            positions = range(start, part.stop)
            images, shares = self.queries.images.subset(positions), self.queries.shares(positions)
            yield QueryBlock(positions, images, values, errors, shares)


def gather(
    source: Any,
    spec: ImageSpec,
    shape: tuple[int, int, int],
    runs: bool,
    classes: Sequence[str] | None = None,
    prompts: str | Sequence[str] | None = None,
    region: RegionSource | None = None,
    template: str | None = None,
    captions: CaptionChoice = "one",
) -> Queries:
    """Prepare queries.

    Args:
        source: a path or several (images or folders), a Pillow image, an array, a tensor, a
            list of such, or an `ImageSet`.
        spec: how the training images were prepared.
        shape: `(C, H, W)` of the training images.
        runs: read sampling runs too.
        classes: names of the training images' classes, in order, where they have names.
        prompts: prompts of the images, one for all or one for each; by default their captions,
            or what their record says.
        region: the part of them that is traced; see `creditline.indexing.regions`.
        template: that made the training images' captions; it makes those of image files as well,
            where they have the columns that it names; see `caption_queries`.
        captions: what is taken of several captions of an image file; see `MetadataSpec`.

    Raises:
        DataError: if there is no image, an image has another shape than `shape` or a class that
            the training images do not have; if the number of prompts is not that of the images,
            or a region does not fit.
    """
    origins: list[Path | None]
    if isinstance(source, ImageSet):
        images, origins = source, [None] * len(source)
    elif isinstance(source, (str, Path)) or _all_paths(source):
        paths = [Path(p) for p in ([source] if isinstance(source, (str, Path)) else source)]
        metadata = MetadataSpec(captions=captions)
        images, origins = _prepare(lambda s: _from_paths(paths, s, metadata), spec, shape)
        images = caption_queries(images, template)
    else:
        items = _as_list(source)
        images = _prepare(lambda s: ImageSet.from_images(items, spec=s), spec, shape)
        origins = [None] * len(images)
    if images.shape != shape:
        raise DataError(
            f"The index is of images of shape {shape}; the queries have {images.shape}. Generate "
            "them with the indexed model, or prepare them to that size first."
        )
    if prompts is not None:
        images = _with_prompts(images, prompts)
    if region is not None:
        images = add_masks(images, region)
    return _with_records(_number_classes(images, classes), origins, runs)


def _prepare(load: Callable[[ImageSpec], T], spec: ImageSpec, shape: tuple[int, int, int]) -> T:
    """Load images of the final size as they are, and prepare others like the training images.

    A generated image is complete; a second center crop would be wrong.
    """
    complete = ImageSpec(background=spec.background)
    if shape[1] == shape[2]:
        complete = replace(complete, size=shape[1], crop="none")
    try:
        return load(complete)
    except DataError:
        if spec.size is None:
            raise
        return load(spec)


def _number_classes(images: ImageSet, classes: Sequence[str] | None) -> ImageSet:
    """Number named classes as in training; they were numbered among the queries alone."""
    names = images.label_names
    if names is None:
        return images
    if classes is None:  # the model knows class numbers only
        return _relabel(images, [None] * len(images), None)
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise DataError(
            f"The queries' classes are called {', '.join(unknown)}; those of the training images "
            f"are {', '.join(classes)}. Use these, or class numbers."
        )
    return _relabel(
        images, [x if x is None else classes.index(names[x]) for x in images.labels], classes
    )


def _all_paths(source: Any) -> bool:
    return (
        isinstance(source, Sequence)
        and len(source) > 0
        and all(isinstance(item, (str, Path)) for item in source)
    )


def _as_list(source: Any) -> Any:
    """Turn a single image into a list; leave sequences and batches as they are."""
    if isinstance(source, (list, tuple)) or getattr(source, "ndim", 0) == 4:
        return source
    return [source]


def _from_paths(
    paths: Sequence[Path], spec: ImageSpec, metadata: MetadataSpec
) -> tuple[ImageSet, list[Path | None]]:
    """Load files and folders, in the order given; also returns the file of each image."""
    if len(paths) == 1 and paths[0].is_dir():
        images = load_images(paths[0], spec, metadata=metadata)
        return images, [paths[0] / key for key in images.keys]
    files: list[Path] = []
    for path in paths:
        inside = load_images(path, spec, metadata=metadata).keys if path.is_dir() else None
        files += [path] if inside is None else [path / key for key in inside]
    return load_images(files, spec), list(files)


def _with_records(images: ImageSet, origins: Sequence[Path | None], runs: bool) -> Queries:
    """Read the record that `creditline generate` wrote beside each file."""
    records: dict[Path, GenerationRecord | None] = {}
    details: list[Mapping[str, Any]] = []
    trajectories: list[Trajectory | None] = []
    for origin in origins:
        record = None
        if origin is not None:
            if origin.parent not in records:
                records[origin.parent] = read_record(origin.parent)
            record = records[origin.parent]
        if origin is None or record is None or origin.name not in record:
            details.append({})
            trajectories.append(None)
            continue
        details.append(record.details(origin.name))
        has_run = runs and record.trajectory
        trajectories.append(
            Trajectory(*read_trajectory(origin.parent, origin.name)) if has_run else None
        )
    return Queries(_complete(images, details), tuple(trajectories), tuple(details))


def _complete(images: ImageSet, details: Sequence[Mapping[str, Any]]) -> ImageSet:
    """Fill in the recorded class and prompt of images that have none themselves."""

    def fill(values: Sequence[Any], key: str) -> list[Any]:
        return [
            detail.get(key) if value is None else value
            for value, detail in zip(values, details, strict=True)
        ]

    labels, texts = fill(images.labels, "label"), fill(images.texts, "prompt")
    return _relabel(images, labels, images.label_names, texts)


def _with_prompts(images: ImageSet, prompts: str | Sequence[str]) -> ImageSet:
    """Replace the captions of images."""
    texts = [prompts] * len(images) if isinstance(prompts, str) else list(prompts)
    texts = texts * len(images) if len(texts) == 1 else texts
    if len(texts) != len(images):
        raise DataError(
            f"{len(images)} query images need one prompt, or {len(images)}; got {len(texts)}."
        )
    images = images.with_captions(None)
    return _relabel(images, images.labels, images.label_names, texts)


def _relabel(
    images: ImageSet,
    labels: Sequence[int | None],
    names: Sequence[str] | None,
    texts: Sequence[str | None] | None = None,
) -> ImageSet:
    texts = images.texts if texts is None else texts
    if list(images.labels) == list(labels) and list(images.texts) == list(texts):
        return images
    relabeled = ImageSet.from_images(
        images.array(),
        names=images.names,
        contributors=images.contributors,
        texts=texts,
        labels=labels,
        label_names=names,
        # The images are prepared already and must not be cropped again.
        spec=replace(images.spec, center_crop=None),
        source=images.source,
    )
    return relabeled.with_masks(images.masks).with_captions(images.captions)


def without_halves(which: str) -> SettingsError:
    """The error for a missing split-half noise estimate.

    Args:
        which: side that has none, as text.
    """
    return SettingsError(
        f"The error of a score needs a split-half noise estimate on both sides, and {which}. Index "
        "with two or more evaluations of an image (timesteps x draws), without --no-halves, and "
        "without --per-timestep."
    )
