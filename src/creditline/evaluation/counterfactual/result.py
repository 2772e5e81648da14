"""Results of a counterfactual: changes of every image, medians with intervals, contact sheet."""

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
    """The change of one generated image after one removal.

    Attributes:
        rule: rule that chose the removed images.
        k: number of removed images per target.
        removed: number of images that were removed.
        image: name of the generated image.
        target: whether the removed images were chosen for this image; others are controls.
        l2, mse, ssim, cosine: see `ImageDistances`.
        removal_target: name of the one target that the removed images were chosen for; None if
            they were chosen for all targets.
    """

    rule: str
    k: int
    removed: int
    image: str
    target: bool
    l2: float
    mse: float
    ssim: float
    cosine: float | None = None
    removal_target: str | None = None


@dataclass(frozen=True)
class MetricEstimate:
    """Median of a metric over images with its 95 % bootstrap interval, and the mean."""

    median: float
    interval: Interval
    mean: float

    @classmethod
    def estimate(cls, values: np.ndarray) -> MetricEstimate:
        """Estimate the median and the mean of one value per image."""
        return cls(
            float(np.median(values)), bootstrap_interval(values, np.median), float(values.mean())
        )


@dataclass(frozen=True)
class RemovalSummary:
    """Summary of all targets of one rule and k.

    Attributes:
        rule, k: see `ImageChange`.
        removed: number of removed images, the median over retrainings.
        targets: number of targets.
        metrics: estimate of each metric over the targets.
        over_random: pixel norm minus that after random removal for the same target, the median of
            differences; None for baselines without removal.
        over_controls: by how much the pixel norm of targets is above that of controls, with its
            interval; None without controls. With one retraining per target: the median over
            targets of the difference to the median control of the same retraining. With one for
            all: the difference of the medians, both resampled independently.
    """

    rule: str
    k: int
    removed: float
    targets: int
    metrics: dict[str, MetricEstimate]
    over_random: MetricEstimate | None = None
    over_controls: tuple[float, Interval] | None = None


@dataclass(frozen=True)
class CounterfactualResult:
    """Results of a counterfactual.

    Attributes:
        changes: change of every image after every removal.
        images: the targets by `(rule, k)`, uint8 of shape `(m, H, W, 3)`; `(BEFORE, 0)` holds the
            original targets.
        names: names of the targets.
    """

    changes: tuple[ImageChange, ...]
    images: dict[tuple[str, int], np.ndarray]
    names: tuple[str, ...]

    def summaries(self) -> list[RemovalSummary]:
        """Summarize every rule and k, in the order of the retrainings."""
        summaries = []
        for rule, k in dict.fromkeys((c.rule, c.k) for c in self.changes):
            changes = self._select(rule, k, target=True)
            metrics = {
                name: MetricEstimate.estimate(_values(changes, name))
                for name in METRICS
                if getattr(changes[0], name) is not None
            }
            random = self._select(RANDOM, k, target=True)
            comparable = k > 0 and rule != RANDOM and len(random) > 0
            excess = _values(changes, "l2") - _values(random, "l2") if comparable else None
            summaries.append(
                RemovalSummary(
                    rule,
                    k,
                    float(np.median([c.removed for c in changes])),
                    len(changes),
                    metrics,
                    None if excess is None else MetricEstimate.estimate(excess),
                    _over_controls(changes, self._select(rule, k, target=False)),
                )
            )
        return summaries

    def to_json(self) -> dict[str, Any]:
        """Return summaries and changes as JSON-ready values."""
        return {
            "summaries": [asdict(summary) for summary in self.summaries()],
            "changes": [asdict(change) for change in self.changes],
        }

    def sheet(
        self, k: int | None = None, targets: int = 8, scale: int | None = None
    ) -> Image.Image:
        """Draw a contact sheet with a row for each target.

        Columns are the original image and the image after each removal of k images per target.

        Args:
            k: number of removed images per target; the largest by default.
            targets: largest number of rows.
            scale: enlargement; by default images get about 64 pixels wide.
        """
        k = max(size for _, size in self.images) if k is None else k
        columns = [key for key in self.images if key[1] in (0, k)]
        originals = self.images[BEFORE, 0]
        rows = range(min(targets, len(originals)))
        cells = [self.images[key][row] for row in rows for key in columns]
        labels = [rule for _ in rows for rule, _ in columns]
        factor = max(1, 64 // originals.shape[2]) if scale is None else scale
        return contact_sheet(cells, columns=len(columns), scale=factor, labels=labels)

    def _select(self, rule: str, k: int, target: bool) -> list[ImageChange]:
        return [c for c in self.changes if (c.rule, c.k, c.target) == (rule, k, target)]


def _over_controls(
    targets: Sequence[ImageChange], controls: Sequence[ImageChange]
) -> tuple[float, Interval] | None:
    """Compare the median pixel norm of targets with that of controls."""
    if not controls:
        return None
    if targets[0].removal_target is not None:
        same = [[c.l2 for c in controls if c.removal_target == t.image] for t in targets]
        excess = MetricEstimate.estimate(_values(targets, "l2") - np.median(same, axis=1))
        return excess.median, excess.interval
    a, b = _values(targets, "l2"), _values(controls, "l2")
    medians = [
        np.median(values[resample(len(values), seed=seed)], axis=1)
        for seed, values in enumerate((a, b))
    ]
    return float(np.median(a) - np.median(b)), percentile_interval(medians[0] - medians[1])


def _values(changes: Sequence[ImageChange], name: str) -> np.ndarray:
    return np.array([getattr(change, name) for change in changes], dtype=np.float64)
