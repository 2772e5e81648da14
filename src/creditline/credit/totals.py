"""Totals: scores of one query summed over groups of training images, such as contributors."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from creditline.methods.score_noise import ScoreNoise
from creditline.methods.score_transform import ScoreTransform
from creditline.settings import require

REDRAWS = 100
"""Draws of noise from which the error of a share is estimated."""
CONFIDENCE = 0.95
"""Of intervals of shares, and of the ranges of chance of all groups together."""


@dataclass(frozen=True)
class Total:
    """Scores of one group's training images, summed for one query.

    Args:
        name: the group; None collects the images whose group is not known.
        n: number of its training images.
        score: plain sum of their scores, so opponents count against proponents.
        credit: sum of their transformed scores above 0 (`ScoreTransform.credit`).
        share: `credit` divided by the credit of all groups, in [0, 1]; 0 where there is none.
        top: number of the query's listed proponents that belong to this group.
        share_error: standard error of the share, from the noise of the scores, where known.
        chance: standard deviation of the share if images were assigned to groups of the same sizes
            at random. None where it is not known, as in traces of earlier versions.
    """

    name: str | None
    n: int
    score: float
    credit: float
    share: float
    top: int
    share_error: float | None = None
    chance: float | None = None

    @property
    def share_interval(self) -> tuple[float, float] | None:
        """The share ± 1.96 standard errors, within [0, 1]; None where the error is not known."""
        if self.share_error is None:
            return None
        return _within(self.share, normal(CONFIDENCE) * self.share_error)


def chance_intervals(totals: Sequence[Total]) -> list[tuple[float, float] | None]:
    """Shares that chance would give groups of these sizes, within [0, 1]; None where not known.

    If images were assigned to groups at random, all shares would lie in their intervals with a
    probability of at least `CONFIDENCE` (Bonferroni).

    Args:
        totals: of every group of one query.
    """
    n = sum(total.n for total in totals)
    reach = normal(1 - (1 - CONFIDENCE) / len(totals)) if totals else 0.0
    return [
        None if total.chance is None else _within(total.n / n, reach * total.chance)
        for total in totals
    ]


def normal(confidence: float) -> float:
    """Return the standard errors either way that hold a normal value with this probability."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _within(center: float, reach: float) -> tuple[float, float]:
    return max(0.0, center - reach), min(1.0, center + reach)


def tally(
    scores: np.ndarray,
    groups: Sequence[Hashable | None],
    top: Sequence[int],
    transform: ScoreTransform | None = None,
    noise: ScoreNoise | None = None,
) -> tuple[Total, ...]:
    """Sum one query's scores over groups of training images, largest share first.

    Args:
        scores: plain scores, shape `(n,)`.
        groups: group of each training image; None where unknown.
        top: rows of the proponents that are listed.
        transform: of the scores that shares are made of; by default the plain score, of which
            negative values count as 0.
        noise: of these scores, of shape `(1, n)`; shares then have an error.

    Raises:
        SettingsError: if the lengths differ, or the transform needs errors that are not known.
    """
    require(
        len(scores) == len(groups),
        f"{len(scores)} scores need {len(scores)} groups",
        len(groups),
        "Pass one group (or None) per training image.",
    )
    scores, transform = np.asarray(scores, dtype=np.float64), transform or ScoreTransform()
    error = None if noise is None else noise.error[0]
    position = {name: i for i, name in enumerate(dict.fromkeys(groups))}
    member = np.array([position[name] for name in groups], dtype=np.int64)
    k = len(position)
    credit = transform.credit(scores, error)
    require(
        bool(np.isfinite(credit).all()) and math.isfinite(credit.sum()),
        "Shares need finite scores, and some are not, before or after the transform",
        transform.transform,
        "Choose a smaller exponent, or the plain transform.",
    )
    credits, shares = _shares(credit, member, k)
    errors = [None] * k if noise is None else _share_errors(scores, member, k, transform, noise)
    sizes = np.bincount(member, minlength=k)
    columns = zip(
        position,
        sizes,
        np.bincount(member, scores, k),
        credits,
        shares,
        np.bincount(member[list(top)], minlength=k),
        errors,
        _by_chance(credit, sizes),
        strict=True,
    )
    return _sorted(
        Total(
            name=None if name is None else str(name),
            n=int(n),
            score=float(score),
            credit=float(credit),
            share=float(share),
            top=int(n_top),
            share_error=share_error,
            chance=chance,
        )
        for name, n, score, credit, share, n_top, share_error, chance in columns
    )


def average(totals: Sequence[Sequence[Total]]) -> tuple[Total, ...]:
    """Combine the totals of several queries, largest share first.

    `score`, `credit` and `top` are sums over the queries. `share` is the mean of their shares,
    because scores of different queries have different scales.

    Args:
        totals: of each query, over the same groups.
    """
    groups: dict[str | None, list[Total]] = {}
    for of_query in totals:
        for total in of_query:
            groups.setdefault(total.name, []).append(total)
    return _sorted(
        Total(
            name=name,
            n=parts[0].n,
            score=sum(part.score for part in parts),
            credit=sum(part.credit for part in parts),
            share=sum(part.share for part in parts) / len(totals),
            share_error=_mean([part.share_error for part in parts]),
            chance=_mean([part.chance for part in parts]),
            top=sum(part.top for part in parts),
        )
        for name, parts in groups.items()
    )


def _sorted(totals: Iterable[Total]) -> tuple[Total, ...]:
    return tuple(sorted(totals, key=lambda total: (-total.share, -total.score)))


def _shares(credit: np.ndarray, member: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    sums = np.bincount(member, credit, k)
    total = sums.sum()
    return sums, sums / total if total > 0 else np.zeros(k)


def _share_errors(
    scores: np.ndarray,
    member: np.ndarray,
    k: int,
    transform: ScoreTransform,
    noise: ScoreNoise,
) -> list[float]:
    """Estimate the standard error of every group's share: its spread when noise is added again.

    The query's noise shifts all scores along the one sample of it that is known; the noise of a
    training image shifts its own score alone.
    """
    error, rng = noise.error[0], np.random.default_rng(0)
    own = noise.train_error[0]
    shares = np.empty((REDRAWS, k))
    for row in shares:
        common = rng.standard_normal() * noise.from_query[0]
        noisy = scores + common + rng.standard_normal(len(scores)) * own
        row[:] = _shares(transform.credit(noisy, error), member, k)[1]
    return [float(spread) for spread in shares.std(axis=0)]


def _by_chance(credit: np.ndarray, sizes: np.ndarray) -> list[float]:
    """Return the standard deviation of each group's share over random assignments of images.

    The sum of m of n values that are drawn without replacement has the variance
    `m (1 - m/n) s^2`, s^2 the variance of the values (divisor n - 1).
    """
    n, total = len(credit), credit.sum()
    if n < 2 or total <= 0:
        return [0.0] * len(sizes)
    spread = np.sqrt(sizes * (1 - sizes / n)) * np.std(credit / total, ddof=1)
    return [float(x) for x in spread]


def _mean(errors: Sequence[float | None]) -> float | None:
    """Return an upper bound of the standard error of a mean; None where one is not known.

    Noise of the training images, and their assignment to groups, is the same in all queries, so
    it does not average out.
    """
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if len(known) == len(errors) else None
