"""Subsets: the training images of each model of a ground truth."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import numpy as np

from creditline.bounds import SEED, Bounds
from creditline.errors import DataError
from creditline.fingerprint import key64
from creditline.settings import require, setting, validate_settings

if TYPE_CHECKING:
    from creditline.data.image_set import ImageSet


@dataclass(frozen=True)
class SubsetSpec:
    """Settings of the subsets.

    Schemes:

    - `random`: a number `subsets` of random subsets of one size, the share `alpha` of the images.
      Subset `j` depends only on `subset_seed` and `j`, so more subsets do not change earlier ones.
    - `contributor-shares`: the same, with a random number of images from each contributor. All
      combinations of these numbers are equally likely. An evaluation of totals per contributor
      needs subsets like these.
    - `leave-one-contributor-out`: for each contributor in sorted order, the images of all others.
      Images without a contributor are in every subset.
    - `leave-one-out`: for each image, all others.

    The last two schemes have one subset for each contributor or image. `subsets`, `alpha` and
    `subset_seed` apply to the first two schemes, `stratify` to the first.

    Raises:
        SettingsError: if a name is unknown, there are fewer than 8 subsets, which is too few for a
            rank correlation, `alpha` is outside (0, 1), or the scheme is not stratified.
    """

    subsets: int = setting(64, "random subsets", bounds=Bounds(8))
    alpha: float = setting(
        0.5,
        "share of the images in a random subset",
        bounds=Bounds(0, 1, open_low=True, open_high=True),
    )
    stratify: Literal["none", "label", "contributor"] = setting(
        "none", "property whose values have the same shares in a random subset as in all images"
    )
    scheme: Literal[
        "random", "contributor-shares", "leave-one-contributor-out", "leave-one-out"
    ] = setting("random", "how subsets are chosen")
    subset_seed: int = setting(0, "seed of the random subsets", bounds=SEED)

    def __post_init__(self) -> None:
        validate_settings(self)
        require(
            self.stratify == "none" or self.scheme == "random",
            "Only random subsets are stratified",
            f"{self.scheme} by {self.stratify}",
            "Leave one of the two out.",
        )

    @property
    def grows(self) -> bool:
        """Whether subsets can be added later."""
        return self.scheme in ("random", "contributor-shares")


def draw_masks(spec: SubsetSpec, images: ImageSet) -> np.ndarray:
    """Draw the subsets of a set of images.

    A stratified subset takes the share `alpha` of every group, rounded by largest remainder. All
    subsets therefore have the same number of images of every group.

    Returns:
        Membership masks, bool of shape `(M, n)`.

    Raises:
        DataError: if an image lacks the property to stratify by, there are fewer than two
            contributors to leave out in turn, or a subset would be empty or contain every image.
    """
    n = len(images)
    if spec.scheme == "leave-one-out":
        _require_two(n, "images", images)
        return ~np.eye(n, dtype=bool)
    if spec.scheme == "leave-one-contributor-out":
        names = sorted({name for name in images.contributors if name is not None})
        _require_two(len(names), "contributors", images)
        return np.array([[name != out for name in images.contributors] for out in names])
    groups = _groups(group_values(spec, images))
    proportional = _proportional_sizes(groups, spec.alpha)
    total = sum(proportional)
    if not 0 < total < n:
        raise DataError(
            f"A subset of {spec.alpha:g} of {n} images would have {total}. Use more images or "
            "another alpha."
        )
    masks = np.zeros((spec.subsets, n), dtype=bool)
    for j, mask in enumerate(masks):
        stream = np.random.Philox(key=key64("subset", spec.subset_seed, j))
        generator = np.random.Generator(stream)
        order = generator.permutation(n)
        random_sizes = spec.scheme == "contributor-shares"
        sizes = _draw_sizes(groups, total, generator) if random_sizes else proportional
        for members, size in zip(groups, sizes, strict=True):
            mask[order[members[order]][:size]] = True
    return masks


def group_values(spec: SubsetSpec, images: ImageSet) -> Sequence[Hashable]:
    """Return the value by which each image is grouped; all equal without stratification.

    Raises:
        DataError: if an image has no value, or the scheme is `contributor-shares` and there is
            only one contributor.
    """
    shared = spec.scheme == "contributor-shares"
    if spec.stratify == "none" and not shared:
        return (0,) * len(images)
    by = "contributor" if shared else spec.stratify
    values = images.labels if by == "label" else images.contributors
    missing = [name for name, value in zip(images.names, values, strict=True) if value is None]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(images)} images have no {by} to draw by, such as "
            f"{missing[0]}. Give one to each in metadata.csv or by folder, or draw at random."
        )
    if shared and len(set(values)) < 2:
        raise DataError(
            f"Shares of contributors need at least two; {images.source} has {len(set(values))}. "
            "Use another scheme, or name the contributors (contributors=, --contributors)."
        )
    return values


def _groups(values: Sequence[Hashable]) -> list[np.ndarray]:
    """Return the members of every group, bool of shape `(n,)` each, in sorted order."""
    return [np.array([v == value for v in values]) for value in sorted(set(values))]  # type: ignore[type-var]


def _proportional_sizes(groups: Sequence[np.ndarray], alpha: float) -> list[int]:
    """Return the size of every group's share; the sizes add up to `alpha n`."""
    # Exact fractions round half of an odd number the same way on every machine.
    exact = [Fraction(str(alpha)) * int(members.sum()) for members in groups]
    sizes = [int(share) for share in exact]
    short = round(sum(exact)) - sum(sizes)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (sizes[i] - exact[i], i))
    for i in by_remainder[:short]:
        sizes[i] += 1
    return sizes


def _draw_sizes(
    groups: Sequence[np.ndarray], total: int, generator: np.random.Generator
) -> list[int]:
    """Draw sizes that add up to `total`; every possible list of sizes is equally likely.

    First counts the ways to fill the groups from each one on, then draws group by group.
    """
    capacities = [int(members.sum()) for members in groups]
    ways = [[1] + [0] * total]  # without groups, only a total of 0 is possible
    for capacity in reversed(capacities):
        below = list(accumulate(ways[0], initial=0))
        ways.insert(0, [below[t + 1] - below[max(0, t - capacity)] for t in range(total + 1)])
    sizes, remaining = [], total
    for rest, capacity in zip(ways[1:], capacities, strict=True):
        counts = [rest[remaining - size] for size in range(min(capacity, remaining) + 1)]
        # Python integers may exceed the range of float; their quotients do not.
        probabilities = np.array([count / sum(counts) for count in counts])
        size = int(np.searchsorted(probabilities.cumsum(), generator.random(), side="right"))
        sizes.append(min(size, int(np.flatnonzero(probabilities)[-1])))
        remaining -= sizes[-1]
    return sizes


def _require_two(count: int, what: str, images: ImageSet) -> None:
    if count < 2:
        raise DataError(
            f"Leaving {what} out in turn needs at least two; {images.source} has {count}. "
            "Use another scheme, or name the contributors (contributors=, --contributors)."
        )
