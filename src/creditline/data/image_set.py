"""ImageSet: an ordered, immutable set of images with ids, names, contributors and captions."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from creditline.data.captions import Captions, check_captions, write_captions
from creditline.data.duplicates import find_duplicates
from creditline.data.image_fingerprint import fingerprint_images
from creditline.data.image_spec import ImageSpec
from creditline.data.in_memory import InMemoryImage, TensorLike, to_pillow
from creditline.data.mask import Mask
from creditline.data.names import compose, normalize_names, require_unicode
from creditline.data.pixel_array import PixelArray
from creditline.data.save import write_folder
from creditline.errors import DataError
from creditline.settings import to_dict

if TYPE_CHECKING:
    from pathlib import Path

    import torch


class ImageSet:
    """An ordered, immutable sequence of n prepared images. Make one with `load_images`.

    Attributes:
        ids: content hash of each image's prepared pixels; equal images have equal ids.
        names: path of each image relative to the source, such as `"train/horse/0001.jpg"`.
        contributors: who made each image, or None.
        texts: caption of each image, the first where it has several, or None.
        captions: all captions of each image that has several, None for any other; None: see texts.
        labels: class index of each image, or None.
        label_names: name of each class, when classes have names.
        columns: every further metadata column; values are strings or None, n per column.
        masks: which part of each image attribution looks at, None: all of it; None for all.
        spec: how the images were prepared.
        source: description of where they came from.
        shape: (C, H, W) of every image, C = 3.
        skipped: (name, reason) of what was left out because `skip_bad` was asked for.
        prompt_template: that captions were made by, or None; queries are captioned alike.
        fingerprint: hash over ids, labels, texts, captions, spec and masks, in order.
    """

    def __init__(
        self,
        pixels: PixelArray,
        *,
        names: Sequence[str],
        contributors: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
        labels: Sequence[int | None] | None = None,
        label_names: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str | None]] | None = None,
        masks: Sequence[Mask | None] | None = None,
        captions: Sequence[Sequence[str] | None] | None = None,
        source: str = "memory",
        skipped: Iterable[tuple[str, str]] = (),
        prompt_template: str | None = None,
    ) -> None:
        n = len(pixels.ids)
        nothing = (None,) * n
        self._pixels = pixels
        self.ids = pixels.ids
        self.names = tuple(names)
        self.contributors = nothing if contributors is None else tuple(contributors)
        self.texts = nothing if texts is None else tuple(texts)
        self.labels = nothing if labels is None else tuple(_class_index(v) for v in labels)
        self.label_names = None if label_names is None else tuple(label_names)
        if self.label_names is not None:
            high = max((v for v in self.labels if v is not None), default=-1)
            if high >= len(self.label_names):
                raise DataError(f"There is a label {high}, but only {len(self.label_names)} names.")
        self._columns = {key: tuple(values) for key, values in (columns or {}).items()}
        self.spec = pixels.spec
        self.source = source
        self.skipped = tuple(skipped)
        self.prompt_template = prompt_template
        self.shape = (3, pixels.shape[0], pixels.shape[1])
        fields = {"names": self.names, "contributors": self.contributors, "texts": self.texts}
        for name, values in {**fields, "labels": self.labels, **self._columns}.items():
            if len(values) != n:
                raise DataError(f"{n} images need {n} {name}; got {len(values)}.")
        for name, texts in {**fields, **self._columns}.items():
            require_unicode(name, texts)
        require_unicode("names of columns", self._columns)
        require_unicode("names of classes", self.label_names or ())
        self._take(masks, captions)

    @property
    def keys(self) -> tuple[str, ...]:
        """What the source calls each image: for files, paths as the disk has them. May be empty."""
        return self._pixels.keys

    @property
    def columns(self) -> Mapping[str, tuple[str | None, ...]]:
        """Further metadata columns by name, read-only."""
        return MappingProxyType(self._columns)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        people = len(set(self.contributors) - {None})
        size = f"{self.shape[2]}x{self.shape[1]}"
        return (
            f"ImageSet({len(self)} images {size}, {people} contributors, "
            f"source={self.source!r}, fingerprint={self.fingerprint!r})"
        )

    def image(self, index: int) -> Image.Image:
        """Image `index`, prepared, as a Pillow image in mode RGB."""
        return Image.fromarray(self.array([index])[0])

    def array(self, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Prepared pixels uint8 [b, H, W, 3] of the images at `indices` (default: all).

        Raises:
            DataError: if an image no longer in memory has vanished or changed on disk.
            IndexError: for positions outside the set.
        """
        return self._pixels.array(self._positions(indices))

    def pixels(self, indices: Sequence[int] | np.ndarray | None = None) -> torch.Tensor:
        """Pixels float32 [b, 3, H, W] in [-1, 1]: x / 127.5 - 1, on the CPU.

        Raises:
            DataError, IndexError: as `array`.
        """
        import torch

        values = torch.from_numpy(self.array(indices)).permute(0, 3, 1, 2).contiguous()
        return values.to(torch.float32) / 127.5 - 1.0

    def subset(self, indices: Sequence[int] | np.ndarray) -> ImageSet:
        """The images at `indices`, in this order, repeats allowed; pixels stay shared lazily."""
        rows = self._positions(indices)

        def pick(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[row] for row in rows)

        return ImageSet(
            self._pixels.take(rows),
            names=pick(self.names),
            contributors=pick(self.contributors),
            texts=pick(self.texts),
            labels=pick(self.labels),
            label_names=self.label_names,
            columns={key: pick(values) for key, values in self._columns.items()},
            masks=None if self.masks is None else pick(self.masks),
            captions=None if self.captions is None else pick(self.captions),
            source=self.source,
            skipped=self.skipped,
            prompt_template=self.prompt_template,
        )

    def captioned(self, texts: Sequence[str | None], prompt_template: str | None) -> ImageSet:
        """The same images with one other caption each, and the template that made it, if any."""
        return ImageSet(
            self._pixels,
            names=self.names,
            contributors=self.contributors,
            texts=texts,
            labels=self.labels,
            label_names=self.label_names,
            columns=self._columns,
            masks=self.masks,
            source=self.source,
            skipped=self.skipped,
            prompt_template=prompt_template,
        )

    def labeled(self, labels: Sequence[int | None], label_names: Sequence[str] | None) -> ImageSet:
        """The same images with other class indices, and the names of the classes."""
        return ImageSet(
            self._pixels,
            names=self.names,
            contributors=self.contributors,
            texts=self.texts,
            labels=labels,
            label_names=label_names,
            columns=self._columns,
            masks=self.masks,
            captions=self.captions,
            source=self.source,
            skipped=self.skipped,
            prompt_template=self.prompt_template,
        )

    def with_masks(self, masks: Sequence[Mask | None] | None) -> ImageSet:
        """The same images with other masks.

        Args:
            masks: one for each image, None where all of it counts.

        Raises:
            DataError: if there are not as many, or one is of another shape than the images.
        """
        other = copy.copy(self)
        other._take(masks, self.captions)
        return other

    def with_captions(self, captions: Sequence[Sequence[str] | None] | None) -> ImageSet:
        """The same images with all captions of those that have several.

        Args:
            captions: texts for each image, its own first; None where it has one. None: one each.

        Raises:
            DataError: if there are not as many, or they do not begin with the image's text.
        """
        other = copy.copy(self)
        other._take(self.masks, captions)
        return other

    def require_no_masks(self, what: str) -> None:
        """Refuse masks where they would be passed over.

        Args:
            what: what would ignore them, as text.

        Raises:
            DataError: if the set has any.
        """
        if any(mask is not None for mask in self.masks or ()):
            raise DataError(
                f"{what} knows no parts of images, and these come with masks. Leave the masks "
                "out (with_masks(None)); gradient methods know what to do with them."
            )

    def duplicates(self) -> tuple[tuple[int, ...], ...]:
        """Groups of positions whose images are equal, each group and the list ascending."""
        return find_duplicates(self.ids)

    def save(self, folder: str | Path) -> Path:
        """Write the prepared images as PNG files with a `metadata.csv`, for `load_images`.

        Classes that have names are written by name. Reading numbers the names in sorted order, so
        class indices survive if `label_names` is sorted and every class is present. The captions of
        an image that has several are written as a list, which `MetadataSpec(captions="all")` reads.

        Returns:
            The folder.

        Raises:
            DataError: if `folder` exists and is not empty, or the set has masks.
        """
        self.require_no_masks("A saved folder")
        names, nothing = self.label_names, (None,) * len(self)
        fields: dict[str, Sequence[Any]] = {
            "contributor": self.contributors,
            "text": [
                text if several is None else write_captions(several)
                for text, several in zip(self.texts, self.captions or nothing, strict=True)
            ],
            "label": [x if x is None or names is None else names[x] for x in self.labels],
        }
        # Without any value a column would come back as one of empty strings.
        columns = {k: values for k, values in fields.items() if any(v is not None for v in values)}
        # A column that was read under another name must not come back under its own.
        reserved = {*fields, "file_name"}
        columns |= {k: values for k, values in self.columns.items() if k not in reserved}
        return write_folder(folder, self.names, self.image, columns)

    @classmethod
    def from_images(
        cls,
        images: Sequence[InMemoryImage] | np.ndarray | TensorLike,
        *,
        names: Sequence[str] | None = None,
        contributors: Sequence[str | None] | None = None,
        texts: Sequence[str | None] | None = None,
        labels: Sequence[int | None] | None = None,
        label_names: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str | None]] | None = None,
        spec: ImageSpec | None = None,
        source: str = "memory",
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> ImageSet:
        """An image set of images that are already in memory.

        Args:
            images: a sequence of Pillow images, arrays [H, W], [H, W, 3] or [H, W, 4], or
                tensors [3, H, W] or [1, H, W]; or one array or tensor of them with a leading
                batch axis. Arrays and tensors are uint8 in 0..255 or floating point.
            names: what to call them; default `"00000.png"`, `"00001.png"`, ...
            contributors, texts, labels, label_names, columns: as the attributes.
            spec: how to prepare them; default `ImageSpec()`, all of one size already.
            source: description of where they came from.
            value_range: black and white of floating point images, (-1, 1) unless told
                otherwise. Values outside are refused, not clipped.

        Raises:
            DataError: for an empty sequence, images of other shapes, types or sizes, and
                floating point values that are not finite or outside `value_range`.
        """
        from creditline.data.prepared_pixels import prepare_images

        images = to_pillow(images, value_range)
        file_names = [f"{i:05d}.png" for i in range(len(images))]
        if names is not None:
            file_names = [compose(name) for name in names]
        if len(file_names) != len(images):
            raise DataError(
                f"{len(images)} images need {len(images)} names; got {len(file_names)}."
            )
        prepared = prepare_images(file_names, images.__getitem__, spec or ImageSpec())
        return cls(
            prepared.pixels,
            names=file_names,
            contributors=None if contributors is None else normalize_names(contributors),
            texts=texts,
            labels=labels,
            label_names=label_names,
            columns=columns,
            source=source,
        )

    def _take(
        self,
        masks: Sequence[Mask | None] | None,
        captions: Sequence[Sequence[str] | None] | None,
    ) -> None:
        self.captions: tuple[Captions | None, ...] | None = None
        if captions is not None:
            self.captions = check_captions(captions, self.texts, self.names)
        self.masks = None if masks is None else tuple(masks)
        if self.masks is not None and len(self.masks) != len(self):
            raise DataError(f"{len(self)} images need {len(self)} masks; got {len(self.masks)}.")
        for name, mask in zip(self.names, self.masks or (), strict=False):
            if mask is not None and mask.shape != self.shape[1:]:
                raise DataError(
                    f"The mask of {name} has shape {mask.shape}; the image has "
                    f"{self.shape[1:]}. Make it with the image's."
                )
        spec = to_dict(self.spec)
        self.fingerprint = fingerprint_images(
            self.ids, self.labels, self.texts, spec, self.mask_ids, self.captions
        )

    @property
    def mask_ids(self) -> tuple[str | None, ...] | None:
        """Content hash of each mask; None where there is none."""
        if self.masks is None:
            return None
        return tuple(None if mask is None else mask.id for mask in self.masks)

    def _positions(self, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
        n = len(self)
        if indices is None:
            return np.arange(n)
        rows = np.asarray(indices)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise IndexError(f"positions are a flat list of integers; got {indices!r}")
        rows = rows.astype(np.int64)
        if ((rows < -n) | (rows >= n)).any():
            bad = rows[(rows < -n) | (rows >= n)][0]
            raise IndexError(f"position {bad} is outside a set of {n} images")
        return np.where(rows < 0, rows + n, rows)


def _class_index(label: object) -> int | None:
    if label is None:
        return None
    try:
        value = operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        value = -1
    if value < 0:
        raise DataError(f"A class label is an integer from 0 on, or None; got {label!r}.")
    return value
