"""Features for methods that are fitted on several feature sets: the same numbers in each.

Residuals are positive, so theirs are larger by ten.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from creditline.features.table import ArrayFeatures
from creditline.gradients.projection import Block
from creditline.methods import FitContext, get


def widen(method: Any, features: np.ndarray) -> np.ndarray:
    """Repeat features once for each feature set of a method, given by name or as an instance."""
    method = get(method)() if isinstance(method, str) else method
    terms = method.feature_terms().values()
    kinds = [term.capabilities.features for term in terms]
    parts = [features + 10 if kind == "residuals" else features for kind in kinds]
    return np.concatenate(parts, axis=-1)


def context(
    method: Any, features: np.ndarray, rates: tuple | None = None, errors: np.ndarray | None = None
) -> FitContext:
    """A context of a method's own feature sets, each with dimensions of two layers."""
    names, size = method.feature_terms(), features.shape[-1]
    sets = dict.fromkeys(names, size) if len(names) > 1 else {}
    wide = None if errors is None else np.concatenate([errors] * len(names), axis=-1)
    table = ArrayFeatures(widen(method, features), rates, errors=wide)
    blocks = [
        Block(f"layer {i}", 100, size * place + start, rows)
        for place in range(len(names))
        for i, (start, rows) in enumerate([(0, size // 2), (size // 2, size - size // 2)])
    ]
    return FitContext(features=table, feature_sets=sets, blocks=blocks)
