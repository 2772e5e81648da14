"""The part of a query image that was traced."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Region:
    """The part of a query image that was traced.

    Args:
        id: content hash of the mask.
        share: of the image's area, above 0 and at most 1.
        mask: PNG bytes, gray, of the size of the image's PNG; white counts.
    """

    id: str
    share: float
    mask: bytes = field(repr=False)

    def __str__(self) -> str:
        return f"a region, {100 * self.share:.3g} % of the image's area"
