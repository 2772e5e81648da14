"""Transforms of scores: does it predict more to drop small and negative scores before the sum?

Every transform is judged at the method's own damping, beside the plain score, on the same resampled
subsets. What counts is the interval of the difference. A transform that was chosen on one ground
truth is judged on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.evaluation.lds.contributors import predict_from_totals
from creditline.evaluation.lds.score import LDS, Difference, compute_difference, predict_outputs
from creditline.methods.score_transform import ScoreTransform

PLAIN = ScoreTransform()
COMPARED = (
    ScoreTransform("rectified"),
    ScoreTransform("power", exponent=1.5),
    ScoreTransform("power", exponent=2.0),
    ScoreTransform("threshold", threshold=1.0, threshold_unit="spread"),
    ScoreTransform("threshold", threshold=2.0, threshold_unit="error"),
)


@dataclass(frozen=True, eq=False)
class TransformedOutputs:
    """Outputs predicted from transformed scores, and from their totals per contributor.

    Attributes:
        images: predicted from single images, shape `(m, M)`.
        totals: predicted from totals, the same shape; None where contributors are not judged.
    """

    images: np.ndarray
    totals: np.ndarray | None


@dataclass(frozen=True, eq=False)
class TransformScore:
    """LDS of one transform.

    Attributes:
        lds: of the transformed scores.
        gain: over the plain scores.
        totals: of the transformed scores' totals per contributor; None where not judged.
        totals_gain: over plain totals.
    """

    lds: LDS
    gain: Difference
    totals: LDS | None
    totals_gain: Difference | None

    def to_dict(self) -> dict[str, Any]:
        """Return means and intervals, JSON-ready."""
        values = _summary(self.lds, self.gain)
        if self.totals is not None and self.totals_gain is not None:
            values["totals_per_contributor"] = _summary(self.totals, self.totals_gain)
        return values


def transformed_outputs(
    scores: np.ndarray,
    error: np.ndarray | None,
    masks: np.ndarray,
    contributors: Sequence[str | None] | None,
) -> dict[str, TransformedOutputs]:
    """Predict outputs from the plain score and from every transform of it.

    Args:
        scores: plain, shape `(m, n)`.
        error: standard error of each query's scores, `(m, 1)`; None leaves out the transforms
            that need it.
        masks: shape `(M, n)`.
        contributors: of the images, where totals are judged too.
    """
    outputs = {}
    for transform in (PLAIN, *COMPARED):
        if transform.needs_error and error is None:
            continue
        values = transform.apply(scores, error)
        totals = None if contributors is None else predict_from_totals(values, masks, contributors)
        outputs[str(transform)] = TransformedOutputs(predict_outputs(values, masks), totals)
    return outputs


def transform_scores(lds: Mapping[str, tuple[LDS, LDS | None]]) -> dict[str, TransformScore]:
    """Compare every transform with the plain score.

    Args:
        lds: of images and of totals, by transform; the plain score must be among them.
    """
    plain, plain_totals = lds[str(PLAIN)]
    scores = {}
    for name, (images, totals) in lds.items():
        both = totals is not None and plain_totals is not None
        totals_gain = compute_difference(totals, plain_totals) if both else None  # type: ignore[arg-type]
        scores[name] = TransformScore(
            images, compute_difference(images, plain), totals, totals_gain
        )
    return scores


def _summary(lds: LDS, gain: Difference) -> dict[str, Any]:
    return {
        "lds": lds.mean,
        "interval_over_subsets": list(lds.interval),
        "gain": gain.mean,
        "gain_interval_over_subsets": list(gain.interval),
        "gain_interval_over_queries": list(gain.query_interval),
    }
