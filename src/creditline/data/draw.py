"""A random part of an image set, the same number of pictures of everyone if asked for."""

from __future__ import annotations

import numpy as np

from creditline.data.image_set import ImageSet
from creditline.errors import DataError, unknown
from creditline.fingerprint import key64
from creditline.settings import require

EACH = ("contributor", "label")


def draw(
    images: ImageSet, count: int, each: str | None = None, seed: int = 0, skip: int = 0
) -> ImageSet:
    """Some pictures at random, in their old order.

    A group's draw depends on the seed and its own pictures only, so that a contributor who joins
    changes nothing for the others, and a larger count keeps what a smaller one drew.

    Args:
        images: to draw from.
        count: pictures to draw; all where there are fewer.
        each: `"contributor"` or `"label"`: so many of each of those; None: so many in all.
        seed: of the draw.
        skip: leave out what a draw of so many would take: a part that overlaps nothing with it.

    Raises:
        DataError: if pictures have no contributor or label to go by, or none is left.
        SettingsError: on a count, seed or skip below its least value, or an unknown `each`.
    """
    require(count >= 1, "sample must be at least 1", count, "Leave it out for all.")
    require(seed >= 0, "sample_seed must not be negative", seed, "Use 0 or more.")
    require(skip >= 0, "sample_skip must not be negative", skip, "Use 0 or more.")
    if each is not None and each not in EACH:
        raise unknown("group to sample each of", each, EACH)
    groups: dict[object, list[int]] = {}
    for row in range(len(images)):
        group = None if each is None else getattr(images, f"{each}s")[row]
        groups.setdefault(group, []).append(row)
    if each is not None and None in groups:
        raise DataError(
            f"{count} pictures of each {each} were asked for, and {len(groups[None])} of "
            f"{len(images)} pictures have no {each}. Say where it comes from "
            f"({each}s='folder', --{each}s folder), or draw without regard to it."
        )
    chosen: list[int] = []
    for group, rows in groups.items():
        philox = np.random.Philox(key=key64("sample", seed, str(group)))
        order = np.random.Generator(philox).permutation(len(rows))
        chosen += [rows[i] for i in order[skip : skip + count]]
    if not chosen:
        raise DataError(f"Nothing is left of {len(images)} pictures after the first {skip}.")
    return images.subset(sorted(chosen))
