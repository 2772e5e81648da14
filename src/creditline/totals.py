"""Totals: one query's scores summed over groups of training images, a contributor's, say."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.methods.noise import ScoreNoise
from creditline.methods.shape import ScoreTransform
from creditline.settings import require

REDRAWS = 100


@dataclass(frozen=True)
class Total:
    """The scores of one group's training images, summed for one query.

    Args:
        name: the group; None gathers the images of which no group is known.
        n: its images in the training set.
        score: plain sum over them, so opponents count against proponents.
        credit: sum of the shaped scores above 0 (`ScoreTransform.credit`).
        share: `credit` as a part of all groups' credit, in [0, 1]; 0 when there is none.
        top: how many of the query's shown proponents are of this group.
        share_error: standard error of the share, from the noise of the scores, where known.
    """

    name: str | None
    n: int
    score: float
    credit: float
    share: float
    top: int
    share_error: float | None = None

    @property
    def share_interval(self) -> tuple[float, float] | None:
        """The share, 1.96 standard errors either way, within [0, 1]; None where not known."""
        if self.share_error is None:
            return None
        reach = 1.96 * self.share_error
        return max(0.0, self.share - reach), min(1.0, self.share + reach)


def tally(
    scores: np.ndarray,
    groups: Sequence[Hashable | None],
    shown: Sequence[int],
    shape: ScoreTransform | None = None,
    noise: ScoreNoise | None = None,
) -> tuple[Total, ...]:
    """Sum one query's scores over groups of training images, largest share first.

    Args:
        scores: plain, shape `(n,)`.
        groups: the group of each; None where unknown.
        shown: rows of the proponents that will be shown.
        shape: of the scores that shares are made of; plain by default, which rectifies them.
        noise: of these scores, `(1, n)`; shares then have an error.

    Raises:
        SettingsError: if the lengths differ, or the shape needs errors that are not known.
    """
    require(
        len(scores) == len(groups),
        f"{len(scores)} scores need as many groups",
        len(groups),
        "Pass one group (or None) per training image.",
    )
    scores, shape = np.asarray(scores, dtype=np.float64), shape or ScoreTransform()
    error = None if noise is None else noise.error[0]
    position = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    member = np.array([position[name] for name in groups], dtype=np.int64)
    k = len(position)
    credit, shares = _shares(shape.credit(scores, error), member, k)
    spread = [None] * k if noise is None else _errors(scores, member, k, shape, noise)
    parts = zip(
        position,
        np.bincount(member, minlength=k),
        np.bincount(member, scores, k),
        credit,
        shares,
        np.bincount(member[list(shown)], minlength=k),
        spread,
        strict=True,
    )
    totals = [
        Total(
            name=None if name is None else str(name),
            n=int(n),
            score=float(score),
            credit=float(part),
            share=float(share),
            top=int(top),
            share_error=error,
        )
        for name, n, score, part, share, top, error in parts
    ]
    return tuple(sorted(totals, key=lambda total: (-total.share, -total.score)))


def _shares(credit: np.ndarray, member: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    sums = np.bincount(member, credit, k)
    whole = sums.sum()
    return sums, sums / whole if whole > 0 else np.zeros(k)


def _errors(
    scores: np.ndarray, member: np.ndarray, k: int, shape: ScoreTransform, noise: ScoreNoise
) -> list[float]:
    """Standard error of every group's share: its spread when the noise is added once more.

    A query's noise moves all scores together, along the one sample of it that is known, each
    training image's its own score alone.
    """
    error, rng = noise.error[0], np.random.default_rng(0)
    own = noise.train_error[0]
    found = np.empty((REDRAWS, k))
    for row in found:
        together = rng.standard_normal() * noise.from_query[0]
        again = scores + together + rng.standard_normal(len(scores)) * own
        row[:] = _shares(shape.credit(again, error), member, k)[1]
    return [float(spread) for spread in found.std(axis=0)]
