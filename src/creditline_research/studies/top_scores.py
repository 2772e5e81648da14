"""Largest scores and the rest: what does either part of a score predict?

For each query, the images with the largest scores keep them, and all others get the mean of theirs.
The difference to the score itself is the second part:

    top = s on the largest, mean of the rest elsewhere;    rest = s - top

The first part does not distinguish the others. The second distinguishes only the others and adds up
to zero over them, so that their number in a subset has no effect. Both are judged like any score.

Where the rest predicts nothing, it may be noise. The correlation between the predictions of the two
halves of a split-half noise estimate answers that. A rest that fresh noise would reproduce, and
that still predicts nothing, is a property of the trained model that sums over images do not carry
to retrained ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from creditline.evaluation.lds.score import LDS
from creditline.methods.score_noise import halves_agree

Transform = Callable[[np.ndarray], np.ndarray]
SplitOutputs = Mapping[float, tuple[np.ndarray, np.ndarray]]
"""Share of the images to the outputs predicted by the part above and the part below, `(m, M)`."""

SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class TopScoreSplit:
    """LDS of both parts of one split.

    Attributes:
        share: of the training images above the split.
        top: of the part above; None where it does not distinguish images.
        rest: of the part below; the same.
        top_reliability, rest_reliability: expected correlation over subsets between the part's
            predictions and those from fresh noise, for each query, `(m,)`; None without a
            split-half noise estimate.
    """

    share: float
    top: LDS | None
    rest: LDS | None
    top_reliability: np.ndarray | None = None
    rest_reliability: np.ndarray | None = None

    def select(self, rows: slice) -> Self:
        """Select some of the queries."""
        top, rest = self.top_reliability, self.rest_reliability
        return replace(
            self,
            top=None if self.top is None else self.top.select(rows),
            rest=None if self.rest is None else self.rest.select(rows),
            top_reliability=None if top is None else top[rows],
            rest_reliability=None if rest is None else rest[rows],
        )

    def to_dict(self) -> dict[str, Any]:
        """Return means and intervals, JSON-ready."""
        values: dict[str, Any] = {"share": self.share}
        pairs = (
            ("top", self.top, self.top_reliability),
            ("rest", self.rest, self.rest_reliability),
        )
        for name, lds, reliability in pairs:
            if lds is not None:
                values[name] = {"lds": lds.mean, "interval_over_subsets": list(lds.interval)}
                if reliability is not None:
                    values[name]["reliability"] = float(reliability.mean())
        return values


def split_scores(scores: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Split each query's scores into two parts, `(m, n)` each, whose sum is the scores.

    Args:
        scores: shape `(m, n)`.
        share: of the images whose scores the first part distinguishes, in (0, 1]. Ties are broken
            by row.
    """
    n = scores.shape[1]
    count = min(n, max(1, round(share * n)))
    others = np.argsort(-scores, axis=1, kind="stable")[:, count:]
    top, values = scores.copy(), np.take_along_axis(scores, others, 1)
    if others.shape[1]:
        np.put_along_axis(top, others, values.mean(1, keepdims=True), 1)
    return top, scores - top


def split_outputs(outputs: Callable[[Transform], np.ndarray]) -> SplitOutputs:
    """Predict outputs from both parts of every split.

    Args:
        outputs: predicts outputs, `(m, M)`, from a method's scores after a transform of them.
    """
    return {
        share: tuple(outputs(lambda s, i=i, f=share: split_scores(s, f)[i]) for i in (0, 1))  # type: ignore[misc]
        for share in SHARES
    }


def judge_splits(
    outputs: SplitOutputs, judge: Callable[[np.ndarray], LDS], halves: Sequence[SplitOutputs] = ()
) -> tuple[TopScoreSplit, ...]:
    """Judge both parts of every split.

    Args:
        outputs: predicted by the parts.
        judge: gives the LDS of predicted outputs `(m, M)`.
        halves: the same from two scores with independent noise, where known.
    """
    splits = []
    for share, parts in outputs.items():
        varies = [bool(np.ptp(part, axis=1).any()) for part in parts]
        top, rest = (
            judge(part) if any_ else None for part, any_ in zip(parts, varies, strict=True)
        )
        agreement: list[np.ndarray | None] = [None, None]
        if halves:
            a, b = (half[share] for half in halves)
            agreement = [
                halves_agree(x, y) if any_ else None
                for x, y, any_ in zip(a, b, varies, strict=True)
            ]
        splits.append(TopScoreSplit(share, top, rest, *agreement))
    return tuple(splits)
