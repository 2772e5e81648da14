"""Sums of bilinear methods: the factors of all terms side by side."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext


class MethodSum(BilinearAttributor):
    """Base of methods whose score is the weighted sum of the scores of other bilinear methods.

    Each term is fitted on a feature set of its own. All terms need features from the same
    models.

    Attributes:
        terms_: the fitted terms, in order.
        weights_: of the terms.
    """

    @abstractmethod
    def terms(self) -> Mapping[str, tuple[float, BilinearAttributor]]:
        """Weight and method of each term, by the name of its feature set."""

    def feature_terms(self) -> Mapping[str, BilinearAttributor]:
        return {name: term for name, (_, term) in self.terms().items()}

    @property
    def stores_factors(self) -> bool:
        return all(term.stores_factors for term in self.terms_)

    def learn(self, context: FitContext) -> None:
        named = self.terms()
        self.weights_ = [weight for weight, _ in named.values()]
        self.terms_ = [
            term.unfitted().fit(context.of_set(name)) for name, (_, term) in named.items()
        ]

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        factors, start = [], 0
        for weight, term in zip(self.weights_, self.terms_, strict=True):
            stop = start + term.features_.dim
            factors.append(weight * term.query_factors(model, query[:, start:stop]))
            start = stop
        return np.concatenate(factors, axis=1)

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        share = memory // len(self.terms_)
        streams = [_from(term.train_factors(model, share, first), first) for term in self.terms_]
        start, held = first, [np.empty((0, term.features_.dim)) for term in self.terms_]
        while start < self.features_.n:
            held = [
                rows if len(rows) else next(stream)
                for rows, stream in zip(held, streams, strict=True)
            ]
            count = min(map(len, held))
            yield start, np.concatenate([rows[:count] for rows in held], axis=1)
            start, held = start + count, [rows[count:] for rows in held]


def _from(chunks: Iterator[tuple[int, np.ndarray]], first: int) -> Iterator[np.ndarray]:
    """The rows of chunks, without those before `first`."""
    for start, rows in chunks:
        yield rows[max(0, first - start) :]
