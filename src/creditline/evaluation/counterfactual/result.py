"""What removal changed: distances of every picture, medians with intervals, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from creditline.data.contact_sheet import contact_sheet
from creditline.evaluation.counterfactual.removal import RANDOM
from creditline.evaluation.interval import (
    Interval,
    bootstrap_interval,
    percentile_interval,
    resample,
)

METRICS = ("l2", "mse", "ssim", "cosine")
BEFORE = "before"


@dataclass(frozen=True)
class ImageChange:
    """One picture before and after one removal.

    Attributes:
        rule: what chose the images.
        k: images per target.
        removed: images left out.
        picture: its name.
        target: whether the images were chosen for it; others are controls.
        l2, mse, ssim, cosine: see `picture_distance`.
    """

    rule: str
    k: int
    removed: int
    picture: str
    target: bool
    l2: float
    mse: float
    ssim: float
    cosine: float | None = None


@dataclass(frozen=True)
class MetricEstimate:
    """A median with its 95 % bootstrap interval over pictures, and the mean."""

    median: float
    interval: Interval
    mean: float

    @classmethod
    def of(cls, values: np.ndarray) -> MetricEstimate:
        return cls(
            float(np.median(values)), bootstrap_interval(values, np.median), float(values.mean())
        )


@dataclass(frozen=True)
class Summary:
    """All pictures of one rule and k.

    Attributes:
        rule, k: as of a `ImageChange`.
        removed: images left out, the median over retrainings.
        pictures: targets compared.
        metrics: estimate of each metric over the targets.
        over_random: how much more the pixel norm changes than after random removal for the same
            target, the median of differences; None for baselines without removal.
        over_controls: how much more the targets' median pixel norm changes than the controls';
            None without controls. The targets and controls are resampled independently.
    """

    rule: str
    k: int
    removed: float
    pictures: int
    metrics: dict[str, MetricEstimate]
    over_random: MetricEstimate | None = None
    over_controls: tuple[float, Interval] | None = None


@dataclass(frozen=True)
class CounterfactualResult:
    """Everything measured.

    Attributes:
        changes: of every picture after every removal.
        pictures: uint8 `(m, H, W, 3)` by `(rule, k)`, targets in order; `(BEFORE, 0)` as they were.
        names: of the targets.
    """

    changes: tuple[ImageChange, ...]
    pictures: dict[tuple[str, int], np.ndarray]
    names: tuple[str, ...]

    def summaries(self) -> list[Summary]:
        """One row per rule and k, in the order of the work."""
        found = []
        for rule, k in dict.fromkeys((c.rule, c.k) for c in self.changes):
            mine = self._of(rule, k, target=True)
            metrics = {
                name: MetricEstimate.of(_values(mine, name))
                for name in METRICS
                if getattr(mine[0], name) is not None
            }
            random = self._of(RANDOM, k, target=True)
            compared = k > 0 and rule != RANDOM and len(random) > 0
            more = _values(mine, "l2") - _values(random, "l2") if compared else None
            found.append(
                Summary(
                    rule,
                    k,
                    float(np.median([c.removed for c in mine])),
                    len(mine),
                    metrics,
                    None if more is None else MetricEstimate.of(more),
                    _over(mine, self._of(rule, k, target=False)),
                )
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Summaries and every change, as plain values."""
        return {
            "summaries": [asdict(summary) for summary in self.summaries()],
            "changes": [asdict(change) for change in self.changes],
        }

    def sheet(
        self, k: int | None = None, targets: int = 8, scale: int | None = None
    ) -> Image.Image:
        """Targets in rows; before, then after each removal of k images per target, in columns.

        Args:
            k: the largest of the grid by default.
            targets: rows at most.
            scale: enlargement; pictures get about 64 pixels by default.
        """
        k = max(size for _, size in self.pictures) if k is None else k
        columns = [key for key in self.pictures if key[1] in (0, k)]
        before = self.pictures[BEFORE, 0]
        rows = range(min(targets, len(before)))
        cells = [self.pictures[key][row] for row in rows for key in columns]
        labels = [rule for _ in rows for rule, _ in columns]
        enlarged = max(1, 64 // before.shape[2]) if scale is None else scale
        return contact_sheet(cells, columns=len(columns), scale=enlarged, labels=labels)

    def _of(self, rule: str, k: int, target: bool) -> list[ImageChange]:
        return [c for c in self.changes if (c.rule, c.k, c.target) == (rule, k, target)]


def _over(
    targets: Sequence[ImageChange], controls: Sequence[ImageChange]
) -> tuple[float, Interval] | None:
    if not controls:
        return None
    a, b = _values(targets, "l2"), _values(controls, "l2")
    medians = [
        np.median(values[resample(len(values), seed=seed)], axis=1)
        for seed, values in enumerate((a, b))
    ]
    return float(np.median(a) - np.median(b)), percentile_interval(medians[0] - medians[1])


def _values(changes: Sequence[ImageChange], name: str) -> np.ndarray:
    return np.array([getattr(change, name) for change in changes], dtype=np.float64)
