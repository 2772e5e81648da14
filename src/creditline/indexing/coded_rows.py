"""Rows of few-bit codes that are searched as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np

from creditline.features.few_bits import FewBitCode
from creditline.features.table import inner_products
from creditline.indexing.ranker import strongest_of_each
from creditline.indexing.row_scores import RowScores
from creditline.indexing.stored_features import CodedFeatures
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.feature_form import FeatureForm

EVERY = slice(None)


class CodedRows(RowScores):
    """The codes of `n` images under several models, and how a method scores them.

    Args:
        method: fitted to features of few bits.

    Raises:
        SettingsError: if its scores are not inner products with single features.
    """

    def __init__(self, method: BilinearAttributor) -> None:
        self.method, self.table = method, cast(CodedFeatures, method.features_)
        self.n, self.models, self.dim = self.table.n, self.table.models, self.table.dim
        self.forms(np.zeros((1, self.models, self.dim)))  # refused before long work

    def forms(self, factors: np.ndarray) -> list[FeatureForm]:
        """Scores of queries under each model; factors as in `FactorCache.scores`."""
        return [self.method.feature_form(c, factors[:, c]) for c in range(self.models)]

    def signs(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Signs of the first numbers of each model's features, and the features' norms.

        Args:
            count: numbers of each model; see `FewBitCode.signs`.

        Yields:
            uint8 of shape `(b, C * ceil(count / 8))` and float64 of shape `(b, C)`, in order.
        """
        every = [self.table.columns(c)[0] for c in range(self.models)]
        names = [name for own in every for name in own.names]
        for batch in self.table.code_batches(names):
            signs = [FewBitCode(own.bits).signs(own.read_codes(batch)[0], count) for own in every]
            norms = [own.read_norm(batch) for own in every]
            yield np.concatenate(signs, axis=1), np.stack(norms, axis=1)

    def top(self, factors: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """See `FactorCache.top`; a row of all scores is held for each query."""
        return strongest_of_each(self.scores(factors), top)

    def scores(self, factors: np.ndarray) -> np.ndarray:
        """See `FactorCache.scores`."""
        scores = np.zeros((len(factors), self.n))
        for c, form in enumerate(self.forms(factors)):
            scores += form.scores(inner_products(self.table, c, form.weights), EVERY)
        return scores

    def model_scores_of(self, model: int, factors: np.ndarray, rows: np.ndarray) -> np.ndarray:
        form = self.method.feature_form(model, factors)
        return form.scores(self.table.products_of(model, rows, form.weights), rows)
