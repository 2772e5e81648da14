"""One training image in the ranking of a query image."""

from __future__ import annotations

from dataclasses import dataclass, field

NOISE_FLOOR = 3.0
"""Standard errors by which a score must differ from 0 to count as more than noise.

Noise alone lifts one image in 740 above three. Above two it would be one in 44, dozens in every
training set.
"""


@dataclass(frozen=True)
class Hit:
    """One training image at one end of a query's ranking.

    Args:
        row: position in the index.
        id: content hash of its pixels.
        name: path in its source.
        contributor: who made it, where known.
        text: its caption, where known.
        label: its class, where known.
        score: positive for proponents (see `MethodCard.meaning`).
        rank: 1 is the strongest of its list.
        z: (score - mean) / std over all training images of this query; 0 where std is 0.
        image: PNG bytes.
        self_influence: score of the image with itself as the query, where the method has one.
        error: standard error of the score, from the noise of its features, where known.
    """

    row: int
    id: str
    name: str
    contributor: str | None
    text: str | None
    label: str | None
    score: float
    rank: int
    z: float
    image: bytes = field(repr=False)
    self_influence: float | None = None
    error: float | None = None

    @property
    def is_above_noise(self) -> bool | None:
        """Whether the score differs from 0 by more than `NOISE_FLOOR` errors; None: not known."""
        return None if self.error is None else abs(self.score) > NOISE_FLOOR * self.error
