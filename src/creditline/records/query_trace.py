"""One query image and its ranking of the training images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from creditline.credit.totals import Total
from creditline.records.hit import Hit
from creditline.records.region import Region
from creditline.records.removal import Removal


@dataclass(frozen=True)
class QueryTrace:
    """One query image with the two ends of its ranking of all training images.

    Args:
        id: content hash of its pixels.
        name: of its file.
        text: its caption or prompt.
        image: PNG bytes.
        proponents: highest scores, strongest first.
        opponents: lowest scores, strongest first.
        totals: by metadata column ("contributor", "label"), largest share first.
        mean: of the scores over all training images.
        std: of the same scores.
        n_positive: number of scores above 0.
        error: standard error of the scores, from the noise of their features: root mean square
            over training images. None where the noise is not known, as for the next two.
        n_above_noise: number of scores above `NOISE_FLOOR` times their own error.
        reliability: expected correlation with the scores of fresh noise.
        details: how the image was made, such as seed and steps, where known.
        region: the part of the image that was traced; None: all of it.
        removals: what became of the image in a counterfactual evaluation, where there was one.
    """

    id: str
    name: str
    text: str | None
    image: bytes = field(repr=False)
    proponents: tuple[Hit, ...]
    opponents: tuple[Hit, ...]
    totals: Mapping[str, tuple[Total, ...]]
    mean: float
    std: float
    n_positive: int
    error: float | None = None
    n_above_noise: int | None = None
    reliability: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    region: Region | None = None
    removals: tuple[Removal, ...] = ()
