"""Subsets: which training images each model of a ground truth is trained on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import numpy as np

from creditline.errors import DataError
from creditline.fingerprint import key64
from creditline.settings import require, setting, validate_choices

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet


@dataclass(frozen=True)
class SubsetSpec:
    """How subsets are drawn.

    Schemes:

    - `random`: `subsets` subsets, each `alpha` of the images, all of one size. Subset `j` depends
      only on `subset_seed` and `j`, so asking for more changes none of the earlier ones.
    - `contributor-shares`: the same, but how many images come from each contributor is drawn too,
      all ways of filling a subset being equally likely. Totals per contributor need subsets like
      these to be judged by.
    - `leave-one-contributor-out`: for each contributor in sorted order, the images of all others.
      Images without a contributor are in every subset.
    - `leave-one-out`: for each image, all others.

    The last two give as many subsets as there are contributors or images; `subsets`, `alpha`,
    and `subset_seed` belong to the first two, and `stratify` to the first.

    Raises:
        SettingsError: on an unknown name, fewer than 8 subsets, which no rank correlation could
            judge, a share outside (0, 1), or strata that a scheme does not have.
    """

    subsets: int = setting(64, "random subsets")
    alpha: float = setting(0.5, "share of the images in a random subset")
    stratify: Literal["none", "label", "contributor"] = setting(
        "none", "what a random subset holds in the same proportions as all images"
    )
    scheme: Literal[
        "random", "contributor-shares", "leave-one-contributor-out", "leave-one-out"
    ] = setting("random", "which subsets")
    subset_seed: int = setting(0, "seed of the random subsets")

    def __post_init__(self) -> None:
        validate_choices(self)
        require(
            self.stratify == "none" or self.scheme == "random",
            "Only random subsets are stratified",
            f"{self.scheme} by {self.stratify}",
            "Leave one of the two out.",
        )
        require(self.subsets >= 8, "subsets must be at least 8", self.subsets, "Try 64.")
        require(0 < self.alpha < 1, "alpha must lie between 0 and 1", self.alpha, "Try 0.5.")
        require(
            self.subset_seed >= 0, "subset_seed must not be negative", self.subset_seed, "Try 0."
        )

    @property
    def grows(self) -> bool:
        """Whether more subsets can be asked for later."""
        return self.scheme in ("random", "contributor-shares")


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
    groups = _groups(group_values(spec, images))
    even = _even(groups, spec.alpha)
    total = sum(even)
    if not 0 < total < n:
        raise DataError(
            f"A subset of {spec.alpha:g} of {n} images would hold {total}. Use more images or "
            "another alpha."
        )
    masks = np.zeros((spec.subsets, n), dtype=bool)
    for j, mask in enumerate(masks):
        stream = np.random.Philox(key=key64("subset", spec.subset_seed, j))
        generator = np.random.Generator(stream)
        order = generator.permutation(n)
        uneven = spec.scheme == "contributor-shares"
        sizes = _uneven(groups, total, generator) if uneven else even
        for members, size in zip(groups, sizes, strict=True):
            mask[order[members[order]][:size]] = True
    return masks


def group_values(spec: SubsetSpec, images: ImageSet) -> Sequence[Hashable]:
    """What groups each image by, n values; all equal without stratification.

    Raises:
        DataError: if an image has no value, or a contributor's share is to be drawn and there is
            but one contributor.
    """
    shared = spec.scheme == "contributor-shares"
    if spec.stratify == "none" and not shared:
        return (0,) * len(images)
    by = "contributor" if shared else spec.stratify
    values = images.labels if by == "label" else images.contributors
    lacking = [name for name, value in zip(images.names, values, strict=True) if value is None]
    if lacking:
        raise DataError(
            f"{len(lacking)} of {len(images)} images have no {by} to draw by, such as "
            f"{lacking[0]}. Give one to each in metadata.csv or by folder, or draw at random."
        )
    if shared and len(set(values)) < 2:
        raise DataError(
            f"Shares of contributors need at least two; {images.source} has {len(set(values))}. "
            "Use another scheme, or name the contributors (contributors=, --contributors)."
        )
    return values


def _groups(values: Sequence[Hashable]) -> list[np.ndarray]:
    """Members of every group, bool of shape `(n,)` each, groups in sorted order."""
    return [np.array([v == value for v in values]) for value in sorted(set(values))]  # type: ignore[type-var]


def _even(groups: Sequence[np.ndarray], alpha: float) -> list[int]:
    """The share of every group; shares add up to `alpha n`."""
    # Exact, so that a half of an odd number is rounded the same way everywhere.
    exact = [Fraction(str(alpha)) * int(members.sum()) for members in groups]
    sizes = [int(share) for share in exact]
    short = round(sum(exact)) - sum(sizes)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (sizes[i] - exact[i], i))
    for i in by_remainder[:short]:
        sizes[i] += 1
    return sizes


def _uneven(groups: Sequence[np.ndarray], total: int, generator: np.random.Generator) -> list[int]:
    """Sizes that add up to `total`, every possible list of them equally likely.

    Counts in how many ways the groups from each one on can be filled, then draws group by group.
    """
    room = [int(members.sum()) for members in groups]
    ways = [[1] + [0] * total]  # of no group: nothing is the only way
    for most in reversed(room):
        below = list(accumulate(ways[0], initial=0))
        ways.insert(0, [below[t + 1] - below[max(0, t - most)] for t in range(total + 1)])
    sizes, left = [], total
    for rest, most in zip(ways[1:], room, strict=True):
        counts = [rest[left - size] for size in range(min(most, left) + 1)]
        # Integers of any length divide exactly enough; their sum is that of all choices.
        likely = np.array([count / sum(counts) for count in counts])
        size = int(np.searchsorted(likely.cumsum(), generator.random(), side="right"))
        sizes.append(min(size, int(np.flatnonzero(likely)[-1])))
        left -= sizes[-1]
    return sizes


def _require_two(count: int, what: str, images: ImageSet) -> None:
    if count < 2:
        raise DataError(
            f"Leaving {what} out in turn needs at least two; {images.source} has {count}. "
            "Use another scheme, or name the contributors (contributors=, --contributors)."
        )
