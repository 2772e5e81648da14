"""Shapes: does it foretell more to drop small and negative scores before they are summed?

Every shape is judged at the method's own damping, beside the plain score, on the same resampled
subsets; what counts is the interval of the difference. A shape that was chosen on a ground truth
is not judged by it: choose on one benchmark, judge on another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.evaluation.lds.contributors import predict_from_totals
from creditline.evaluation.lds.score import LDS, Difference, lds_difference, predict_outputs
from creditline.methods.shape import ScoreTransform

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
    """Outputs that one shape predicts, `(m, M)`: from images, and from contributors' totals."""

    images: np.ndarray
    totals: np.ndarray | None


@dataclass(frozen=True, eq=False)
class TransformScore:
    """How one shape does.

    Attributes:
        lds: of the shaped scores.
        gain: over the plain ones.
        totals: of the shaped scores' totals per contributor; None where these are not judged.
        totals_gain: over plain totals.
    """

    lds: LDS
    gain: Difference
    totals: LDS | None
    totals_gain: Difference | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without single queries."""
        values = _brief(self.lds, self.gain)
        if self.totals is not None and self.totals_gain is not None:
            values["totals_per_contributor"] = _brief(self.totals, self.totals_gain)
        return values


def shaped_outputs(
    scores: np.ndarray,
    error: np.ndarray | None,
    masks: np.ndarray,
    contributors: Sequence[str | None] | None,
) -> dict[str, TransformedOutputs]:
    """What the plain score and every shape of it predict; those at the noise floor where known.

    Args:
        scores: plain, shape `(m, n)`.
        error: standard error of each query's scores, `(m, 1)`, or None.
        masks: shape `(M, n)`.
        contributors: of the images, where totals are judged too.
    """
    found = {}
    for shape in (PLAIN, *COMPARED):
        if shape.needs_error and error is None:
            continue
        shaped = shape.apply(scores, error)
        totals = None if contributors is None else predict_from_totals(shaped, masks, contributors)
        found[str(shape)] = TransformedOutputs(predict_outputs(shaped, masks), totals)
    return found


def shape_scores(judged: Mapping[str, tuple[LDS, LDS | None]]) -> dict[str, TransformScore]:
    """Every shape's score and its gain over the plain one, which must be among those judged."""
    plain, plain_totals = judged[str(PLAIN)]
    found = {}
    for name, (lds, totals) in judged.items():
        both = totals is not None and plain_totals is not None
        totals_gain = lds_difference(totals, plain_totals) if both else None  # type: ignore[arg-type]
        found[name] = TransformScore(lds, lds_difference(lds, plain), totals, totals_gain)
    return found


def _brief(lds: LDS, gain: Difference) -> dict[str, Any]:
    return {
        "lds": lds.mean,
        "interval_over_subsets": list(lds.interval),
        "gain": gain.mean,
        "gain_interval_over_subsets": list(gain.interval),
        "gain_interval_over_queries": list(gain.query_interval),
    }
