"""One training image in the ranking of a query image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NOISE_FLOOR = 3.0
"""Standard errors by which a score must differ from 0 to count as more than noise.

Noise alone lifts one image in 740 above three. Above two it would be one in 44, dozens in every
training set.
"""
MOST_COLUMNS = 100
"""Further metadata columns that a trace holds of one training image."""
LONGEST_VALUE = 2000
"""Characters of a name or value in these columns; longer ones are cut."""


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
        columns: its further metadata, such as license and source; see `MOST_COLUMNS` and
            `LONGEST_VALUE`.
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
    columns: Mapping[str, str | None] = field(default_factory=dict, hash=False)

    @property
    def is_above_noise(self) -> bool | None:
        """Whether the score differs from 0 by more than `NOISE_FLOOR` errors; None: not known."""
        return None if self.error is None else abs(self.score) > NOISE_FLOOR * self.error
