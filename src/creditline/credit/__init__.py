"""Credit per contributor: scores summed over groups of training images."""

from __future__ import annotations

from creditline.credit.totals import Total, average, tally

__all__ = ["Total", "average", "tally"]
