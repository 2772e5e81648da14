"""Subsets: which training images each model of a ground truth is trained on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from creditline.errors import DataError, unknown
from creditline.fingerprint import key64
from creditline.settings import require, setting

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet

SCHEMES = ("random", "leave-one-contributor-out", "leave-one-out")
STRATA = ("none", "label", "contributor")


@dataclass(frozen=True)
class SubsetSpec:
    """How subsets are drawn.

    Schemes:

    - `random`: `subsets` subsets, each `alpha` of the images, all of one size. Subset `j` depends
      only on `subset_seed` and `j`, so asking for more changes none of the earlier ones.
    - `leave-one-contributor-out`: for each contributor in sorted order, the images of all others.
      Images without a contributor are in every subset.
    - `leave-one-out`: for each image, all others.

    The last two give as many subsets as there are contributors or images; `subsets`, `alpha`,
    `stratify` and `subset_seed` belong to `random`.

    Raises:
        SettingsError: on an unknown name, fewer than 8 subsets, which no rank correlation could
            judge, or a share outside (0, 1).
    """

    subsets: int = setting(64, "random subsets")
    alpha: float = setting(0.5, "share of the images in a random subset")
    stratify: Literal["none", "label", "contributor"] = setting(
        "none", "what a random subset holds in the same proportions as all images"
    )
    scheme: Literal["random", "leave-one-contributor-out", "leave-one-out"] = setting(
        "random", "which subsets"
    )
    subset_seed: int = setting(0, "seed of the random subsets")

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise unknown("subset scheme", self.scheme, SCHEMES)
        if self.stratify not in STRATA:
            raise unknown("stratification", self.stratify, STRATA)
        require(self.subsets >= 8, "subsets must be at least 8", self.subsets, "Try 64.")
        require(0 < self.alpha < 1, "alpha must lie between 0 and 1", self.alpha, "Try 0.5.")
        require(
            self.subset_seed >= 0, "subset_seed must not be negative", self.subset_seed, "Try 0."
        )


def draw(spec: SubsetSpec, images: ImageSet) -> np.ndarray:
    """The subsets of a set of images.

    A stratified subset takes `alpha` of every group, rounded by largest remainder, so that all
    subsets have the same number of images of every group.

    Returns:
        Membership, bool of shape `(M, n)`.

    Raises:
        DataError: if an image lacks what subsets are stratified by, there are not two
            contributors to leave out in turn, or a subset would be empty or hold every image.
    """
    n = len(images)
    if spec.scheme == "leave-one-out":
        _require_two(n, "images", images)
        return ~np.eye(n, dtype=bool)
    if spec.scheme == "leave-one-contributor-out":
        people = sorted({name for name in images.contributors if name is not None})
        _require_two(len(people), "contributors", images)
        return np.array([[who != left_out for who in images.contributors] for left_out in people])
    sizes = _sizes(strata(spec, images), spec.alpha)
    total = sum(size for _, size in sizes)
    if not 0 < total < n:
        raise DataError(
            f"A subset of {spec.alpha:g} of {n} images would hold {total}. Use more images or "
            "another alpha."
        )
    masks = np.zeros((spec.subsets, n), dtype=bool)
    for j, mask in enumerate(masks):
        stream = np.random.Philox(key=key64("subset", spec.subset_seed, j))
        order = np.random.Generator(stream).permutation(n)
        for members, size in sizes:
            mask[order[members[order]][:size]] = True
    return masks


def strata(spec: SubsetSpec, images: ImageSet) -> Sequence[Hashable]:
    """What each image is stratified by, n values; all equal without stratification.

    Raises:
        DataError: if an image has no value.
    """
    if spec.stratify == "none":
        return (0,) * len(images)
    values = images.labels if spec.stratify == "label" else images.contributors
    lacking = [name for name, value in zip(images.names, values, strict=True) if value is None]
    if lacking:
        raise DataError(
            f"{len(lacking)} of {len(images)} images have no {spec.stratify} to stratify by, such "
            f"as {lacking[0]}. Give one to each in metadata.csv or by folder, or do not stratify."
        )
    return values


def _sizes(values: Sequence[Hashable], alpha: float) -> list[tuple[np.ndarray, int]]:
    """Members (bool of shape `(n,)`) and share of every group; shares add up to `alpha n`."""
    groups = {value: np.array([v == value for v in values]) for value in sorted(set(values))}  # type: ignore[type-var]
    # Exact, so that a half of an odd number is rounded the same way everywhere.
    exact = [Fraction(str(alpha)) * int(members.sum()) for members in groups.values()]
    sizes = [int(share) for share in exact]
    short = round(sum(exact)) - sum(sizes)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (sizes[i] - exact[i], i))
    for i in by_remainder[:short]:
        sizes[i] += 1
    return list(zip(groups.values(), sizes, strict=True))


def _require_two(count: int, what: str, images: ImageSet) -> None:
    if count < 2:
        raise DataError(
            f"Leaving {what} out in turn needs at least two; {images.source} has {count}. "
            "Use another scheme, or name the contributors (contributors=, --contributors)."
        )
