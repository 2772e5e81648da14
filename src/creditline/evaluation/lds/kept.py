"""What the largest scores foretell, and what the rest: a score split in two at every share.

Of each query, the images with the largest scores keep theirs and all others get the mean of theirs;
what the others' scores differ from that mean is the second part:

    top = s on the largest, mean of the rest elsewhere;    rest = s - top

The first part calls all others equal; the second tells only those others apart, and adds up to zero
over them, so that how many of them a subset holds says nothing. Both are judged like any score.
Where the rest foretells nothing, one question is left: is it noise? Two halves of the noise that
share nothing say so, by the correlation of what they predict. A rest that fresh noise would
reproduce, and that still foretells nothing, is a property of the trained model that sums over
images do not carry to retrained ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from creditline.evaluation.lds.score import LDS
from creditline.methods.noise import halves_agree

Shaped = Callable[[np.ndarray], np.ndarray]
Splits = Mapping[float, tuple[np.ndarray, np.ndarray]]
"""Share of the images to what the part above and the part below predict, `(m, M)` each."""

SHARES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class TopScoreSplit:
    """One split, judged.

    Attributes:
        share: of the training images above it.
        top: score of the part above it; None where that tells no image apart.
        rest: of the part below; the same.
        top_reliability, rest_reliability: expected correlation over subsets of what the part
            predicts with what fresh noise would make it predict, of each query, `(m,)`; None
            where the halves of the noise are not known.
    """

    share: float
    top: LDS | None
    rest: LDS | None
    top_reliability: np.ndarray | None = None
    rest_reliability: np.ndarray | None = None

    def part(self, rows: slice) -> Self:
        """On some of the queries."""
        top, rest = self.top_reliability, self.rest_reliability
        return replace(
            self,
            top=None if self.top is None else self.top.select(rows),
            rest=None if self.rest is None else self.rest.select(rows),
            top_reliability=None if top is None else top[rows],
            rest_reliability=None if rest is None else rest[rows],
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready means and intervals."""
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


def split(scores: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Both parts of each query's scores, `(m, n)` each; their sum is the scores.

    Args:
        scores: shape `(m, n)`.
        share: of the images whose scores the first part tells apart, in (0, 1]. Equal scores go by
            row.
    """
    n = scores.shape[1]
    kept = min(n, max(1, round(share * n)))
    others = np.argsort(-scores, axis=1, kind="stable")[:, kept:]
    top, values = scores.copy(), np.take_along_axis(scores, others, 1)
    if others.shape[1]:
        np.put_along_axis(top, others, values.mean(1, keepdims=True), 1)
    return top, scores - top


def split_outputs(outputs: Callable[[Shaped], np.ndarray]) -> Splits:
    """What both parts of every split predict.

    Args:
        outputs: what a method predicts, `(m, M)`, after something was done to its scores.
    """
    return {
        share: tuple(outputs(lambda s, i=i, f=share: split(s, f)[i]) for i in (0, 1))  # type: ignore[misc]
        for share in SHARES
    }


def kept_scores(
    outputs: Splits, judged: Callable[[np.ndarray], LDS], halves: Sequence[Splits] = ()
) -> tuple[TopScoreSplit, ...]:
    """Every split, judged.

    Args:
        outputs: what its parts predict.
        judged: gives the score of predicted outputs `(m, M)`.
        halves: what the parts of two scores predict whose noises share nothing, where known.
    """
    found = []
    for share, parts in outputs.items():
        told = [bool(np.ptp(part, axis=1).any()) for part in parts]
        top, rest = (judged(part) if any_ else None for part, any_ in zip(parts, told, strict=True))
        agreement: list[np.ndarray | None] = [None, None]
        if halves:
            a, b = (half[share] for half in halves)
            agreement = [
                halves_agree(x, y) if any_ else None for x, y, any_ in zip(a, b, told, strict=True)
            ]
        found.append(TopScoreSplit(share, top, rest, *agreement))
    return tuple(found)
