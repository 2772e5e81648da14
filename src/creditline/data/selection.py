"""Selection of images: the first of a source, or a random sample, of each contributor or class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from creditline.bounds import COUNT, NOT_NEGATIVE, SEED
from creditline.data.image_set import ImageSet
from creditline.errors import DataError
from creditline.fingerprint import key64
from creditline.settings import require, setting, validate_settings


@dataclass(frozen=True)
class SelectionSpec:
    """Which of a source's images are loaded.

    A group's sample depends on the seed and its own images only: a new contributor changes
    nothing for the others, and a larger sample contains a smaller one.
    """

    skip_bad: bool = setting(
        False, "leave out images that cannot be read or matched to metadata, and list them"
    )
    limit: int | None = setting(None, "load only the first N images; none: all", bounds=COUNT)
    sample: int | None = setting(None, "keep N images, drawn at random; none: all", bounds=COUNT)
    sample_each: Literal["contributor", "label"] | None = setting(
        None, "draw the sample from each contributor or label; none: from all images together"
    )
    sample_seed: int = setting(0, "seed of the sample", bounds=SEED)
    sample_skip: int = setting(
        0,
        "leave out what a sample of this size would take, for a disjoint sample",
        bounds=NOT_NEGATIVE,
    )

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            SettingsError: on a number below its least value, an unknown group, or settings of a
                sample without its size.
        """
        validate_settings(self)
        require(
            self.sample is not None or (self.sample_each is None and self.sample_skip == 0),
            "sample_each and sample_skip belong to a sample",
            (self.sample_each, self.sample_skip),
            "Give sample, its size, too.",
        )


def sample_images(images: ImageSet, selection: SelectionSpec) -> ImageSet:
    """Draw a random sample, in the order of the images.

    Args:
        images: to draw from.
        selection: size, groups, seed and skip; without a size, all images are returned.

    Raises:
        DataError: if images have no contributor or label to group by, or none is left.
    """
    size, each = selection.sample, selection.sample_each
    if size is None:
        return images
    groups: dict[object, list[int]] = {}
    for row in range(len(images)):
        group = None if each is None else getattr(images, f"{each}s")[row]
        groups.setdefault(group, []).append(row)
    if each is not None and None in groups:
        raise DataError(
            f"{size} images of each {each} were requested, but {len(groups[None])} of "
            f"{len(images)} images have no {each}. Say where it comes from "
            f"(--{each}s folder), or sample from all images together."
        )
    skip = selection.sample_skip
    rows: list[int] = []
    for group, members in groups.items():
        philox = np.random.Philox(key=key64("sample", selection.sample_seed, str(group)))
        order = np.random.Generator(philox).permutation(len(members))
        rows += [members[i] for i in order[skip : skip + size]]
    if not rows:
        raise DataError(f"Nothing is left of {len(images)} images after the first {skip}.")
    return images.subset(sorted(rows))
