"""Reliability: the agreement of scores with those of fresh noise.

An index and its queries store two halves of their noise, which are independent. A score above the
noise floor of one half should have the same sign in the other. The standard error of a half is
`sqrt(2)` times that of both together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from creditline.evaluation.interval import Interval, wilson_interval
from creditline.explain import explained
from creditline.gradients.noise_plan import NoisePlan
from creditline.indexing.index import Index
from creditline.indexing.queries import QueryFeatures, QuerySource
from creditline.indexing.ranker import strongest
from creditline.methods.attributor import Attributor
from creditline.records import NOISE_FLOOR
from creditline.settings import require


@dataclass(frozen=True)
class Reliability:
    """Reliability of the scores of one method.

    Attributes:
        method: title of the method.
        queries: number of queries.
        per_query: expected correlation of each query's scores with those of fresh noise.
        above: share of all scores that are more than `NOISE_FLOOR` standard errors from 0.
        top_above: share of each query's top proponents that are above this noise floor.
        top: number of top proponents per query.
        silent: number of queries without a proponent above the noise floor.
        agreeing: number of scores above the noise floor of one half that have the same sign in
            the other half; both halves in turn.
        compared: number of scores above the noise floor of one half.
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
        """The share of `compared` scores that agree in sign with the other half."""
        return self.agreeing / self.compared if self.compared else math.nan

    @property
    def interval(self) -> Interval | None:
        """The 95 % Wilson interval of the rate, assuming independent scores."""
        return wilson_interval(self.agreeing, self.compared) if self.compared else None


@explained
def measure_reliability(
    index: Index, queries: QuerySource, names: Sequence[str | Attributor] = (), *, top: int = 10
) -> Iterator[Reliability]:
    """Measure the reliability of scores by their split-half noise, method by method.

    Args:
        index: an index that stores both halves of its noise.
        queries: query images; see `Index.trace`.
        names: methods on the features of the index; by default its own.
        top: number of top proponents per query.

    Yields:
        One result per method.

    Raises:
        SettingsError: if the index or the queries have no halves, the scores of a method have no
            noise, or `top` is below 1.
    """
    require(top >= 1, "top must be at least 1", top, "Try 10.")
    indexes = [index.using(name) for name in names] or [index]
    for view in indexes:
        require(
            view.method.capabilities.has_noise,
            "Only scores from random noise have an error",
            view.method.name,
            "Choose gradient methods.",
        )
    index.require_errors()
    extracted: dict[NoisePlan | None, QueryFeatures] = {}
    for view in indexes:
        plain = view.using(transform="plain")
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
            above = np.abs(a) > math.sqrt(2) * floor
            compared += int(above.sum())
            agreeing += int((np.sign(a) == np.sign(b))[above].sum())
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
