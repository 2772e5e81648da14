"""A sum of methods of which some have few-bit features.

Terms with stored factors, or with few numbers to a feature, score all images, which is quick.
Candidates are the images with the largest sums of these scores and of what the signs of longer
features let expect, and those that the quick terms alone rank first. Scores of a longer feature are
divided by their spread over all training images, which would be another pass, so it is estimated
from some images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from creditline.indexing.coded_rows import CodedRows
from creditline.indexing.factor_cache import FactorCache
from creditline.indexing.ranker import strongest, strongest_of_each
from creditline.indexing.sign_codes import CANDIDATES, SignCodes
from creditline.methods.spread_sum import SpreadSum, spread

SPREAD_IMAGES = 2048
"""Images from which the spread of a query's scores is estimated, to about 2 %."""


class SumCodes:
    """Codes of some terms and factors of the others; see `VectorCodes`.

    Args:
        method: fitted.
        terms: what each of its terms is scored from.
    """

    def __init__(
        self, method: SpreadSum, terms: Sequence[FactorCache | CodedRows | SignCodes]
    ) -> None:
        self.method, self.terms, self.n = method, terms, method.features_.n
        self._sample = np.unique(np.linspace(0, self.n - 1, SPREAD_IMAGES).astype(np.int64))
        sizes = [term.features_.dim for term in method.terms_]
        self._ends = np.cumsum(sizes)[:-1]

    def build(self, folder: Path) -> None:
        """See `VectorCodes`; the terms have their own."""

    def open(self, folder: Path) -> None:
        """See `VectorCodes`."""

    def query_factors(self, queries: np.ndarray) -> np.ndarray:
        """See `VectorCodes`."""
        return self.method.search_factors(queries, self._spread_of)

    def exact(self, queries: np.ndarray, top: int) -> np.ndarray:
        """See `VectorCodes`."""
        return strongest_of_each(self.method.attribute(queries), top)[0]

    def candidates(self, factors: np.ndarray, top: int) -> list[np.ndarray]:
        """See `VectorCodes`."""
        pairs = list(zip(self.terms, self._parts(factors), strict=True))
        quick = np.zeros((len(factors), self.n))
        for term, part in pairs:
            if not isinstance(term, SignCodes):
                quick += term.scores(part)
        count = CANDIDATES * top
        groups = [[strongest(scores, count) for scores in quick]]
        for term, part in pairs:
            if isinstance(term, SignCodes):
                pools = zip(term.pool(part, top), quick, strict=True)
                groups.append([r[strongest(s + own[r], count)] for (r, s), own in pools])
        return [np.unique(np.concatenate(rows)) for rows in zip(*groups, strict=True)]

    def scores_of(self, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See `VectorCodes`."""
        scores = np.zeros((len(factors), len(rows)))
        for term, part in zip(self.terms, self._parts(factors), strict=True):
            scores += term.scores_of(part, rows)
        return scores

    def _spread_of(self, number: int, model: int, factors: np.ndarray) -> np.ndarray:
        """Spread of a term's scores under one model, from its factors `(m, k)`."""
        term = self.terms[number]
        every = np.zeros((len(factors), self.method.features_.models, factors.shape[1]))
        every[:, model] = factors
        if isinstance(term, SignCodes):
            return spread(term.scores_of(every, self._sample))
        return spread(term.scores(every))

    def _parts(self, factors: np.ndarray) -> list[np.ndarray]:
        """Factors of each term."""
        return np.split(factors, self._ends, axis=2)
