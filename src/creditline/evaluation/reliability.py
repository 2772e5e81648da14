"""Reliability: would scores come out the same with fresh noise?

The two halves of the noise that an index and its queries keep share nothing, so they are two
experiments. What stands above the noise floor in one should have the same sign in the other. A
half's standard error is `sqrt(2)` times that of both together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from creditline.evaluation.interval import Interval, wilson_interval
from creditline.gradients.noise_plan import NoisePlan
from creditline.indexing.index import Index
from creditline.indexing.queries import QueryFeatures
from creditline.indexing.rank import strongest
from creditline.methods.base import GradientMethod, Method
from creditline.records import NOISE_FLOOR
from creditline.settings import require


@dataclass(frozen=True)
class Reliability:
    """How much of a method's scores is more than noise.

    Attributes:
        method: title.
        queries: how many.
        per_query: expected correlation of each query's scores with those of fresh noise.
        above: share of all scores further than `NOISE_FLOOR` standard errors from 0.
        top_above: share of each query's `top` strongest proponents that are.
        top: how many that were.
        silent: queries with no proponent above the floor.
        agreeing, compared: scores above the floor of one half, and how many of them have the same
            sign in the other; both halves in turn.
    """

    method: str
    queries: int
    per_query: tuple[float, ...]
    above: float
    top_above: float
    top: int
    silent: int
    agreeing: int
    compared: int

    @property
    def rate(self) -> float:
        """Share of the scores above the floor of one half that agree in sign with the other."""
        return self.agreeing / self.compared if self.compared else math.nan

    @property
    def interval(self) -> Interval | None:
        """Wilson's 95 % interval of the rate, as if scores were independent."""
        return wilson_interval(self.agreeing, self.compared) if self.compared else None


def reliability(
    index: Index, queries: Any, names: Sequence[str | Method] = (), *, top: int = 10
) -> Iterator[Reliability]:
    """Compare the halves of the noise, method by method.

    Args:
        index: with the halves of its noise.
        queries: pictures, as in `Index.trace`.
        names: methods on the index's features; its own by default.
        top: proponents of each query to look at.

    Raises:
        SettingsError: if index or queries have no halves, a method has no noise, or `top` is
            below 1.
    """
    require(top >= 1, "top must be at least 1", top, "Try 10.")
    chosen = [index.using(name) for name in names] or [index]
    for one in chosen:
        require(
            isinstance(one.method, GradientMethod),
            "Only scores from random noise have an error",
            one.method.name,
            "Choose gradient methods.",
        )
    index.require_errors()
    extracted: dict[NoisePlan | None, QueryFeatures] = {}
    for one in chosen:
        plain = one.using(shape="plain")
        plan = plain.method.query_plan
        if plan not in extracted:
            extracted[plan] = plain.extract(queries)
        features = extracted[plan]
        scores, noise = plain.scores(features), plain.noise(features)
        floor = NOISE_FLOOR * noise.error
        best = np.stack([strongest(row, top) for row in scores])
        halves = scores + noise.sample, scores - noise.sample
        agreeing = compared = 0
        for a, b in (halves, halves[::-1]):
            clear = np.abs(a) > math.sqrt(2) * floor
            compared += int(clear.sum())
            agreeing += int((np.sign(a) == np.sign(b))[clear].sum())
        yield Reliability(
            method=plain.method.title,
            queries=len(scores),
            per_query=tuple(noise.reliability(scores).tolist()),
            above=float((np.abs(scores) > floor).mean()),
            top_above=float(np.take_along_axis(scores > floor, best, 1).mean()),
            top=best.shape[1],
            silent=int((~(scores > floor).any(1)).sum()),
            agreeing=agreeing,
            compared=compared,
        )
