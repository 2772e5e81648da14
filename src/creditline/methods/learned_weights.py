"""Learning to weight: Li, Le, Xu and Salzmann, "Learning to Weight Parameters for Training Data
Attribution" (ICLR 2026).

    score(q, i) = sum_l w_l u_l(q)^T v_l(i)

Here `u` and `v` are the two factors of another bilinear method, and `l` runs over the layers, each
with dimensions of its own. The weights are learned from the scores of training images for each
other, without labels and without retraining; see `layer_weights`. Only the query side changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from creditline.bounds import COUNT, FRACTION, NOT_NEGATIVE
from creditline.curvature.kernel import MEMORY
from creditline.curvature.ridge import Ridge
from creditline.errors import SettingsError
from creditline.features.table import take_rows
from creditline.gradients.objective import Objective
from creditline.gradients.preconditioning import Preconditioning
from creditline.gradients.projection import Projection
from creditline.gradients.projection.registry import settings_of
from creditline.gradients.spec import FeatureSpec
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.d_trak import DTRAK
from creditline.methods.ekfac import EKFACInfluence, whitened_features
from creditline.methods.feature_form import FeatureForm
from creditline.methods.fit_context import FitContext
from creditline.methods.gradient_method import GradientMethod
from creditline.methods.layer_weights import WeightObjective, learn_weights
from creditline.methods.trak import TRAK
from creditline.settings import group, require, setting
from creditline.units import size

IMAGES = 4096
"""Most training images whose scores the weights are learned from."""
LISTED = 5
"""Layers with the largest weights that readers see."""


def layered_features() -> FeatureSpec:
    """Features of EK-FAC with dimensions for each layer, by the variance of its gradient."""
    whitened = whitened_features("ekfac")
    projection = whitened.projection
    return replace(
        whitened,
        projection=Projection(
            projection.projection, projection.dim, layout="layers", budget="variance"
        ),
    )


@dataclass
class LearnedWeights(GradientMethod):
    """Scores of another method, with a learned weight for each layer.

    Attributes:
        base_: the other method, fitted.
        layer_names_: name of each layer.
        layer_weights_: weights under each model, shape `(C, L)`, 1 on average: with equal weights
            scores are those of the other method.

    Raises:
        SettingsError: if features have no dimensions by layer.
    """

    name: ClassVar = "learned-weights"
    title: ClassVar = "Learned weights"
    paper: ClassVar = "Li et al., ICLR 2026"
    formula: ClassVar = "Σ_l w_l u_l(q)ᵀ v_l(i),  u and v of EK-FAC, TRAK or D-TRAK"
    needs: ClassVar = "a model; several models for the ensemble"
    cost: ClassVar = "as its base, and seconds for the weights"

    features: FeatureSpec = group(layered_features, affects="features")
    base: Literal["ekfac", "trak", "d-trak"] = setting(
        "ekfac",
        "method whose scores are weighted by layer; trak and d-trak prefer bits=16",
        affects="features",
    )
    weight_queries: int = setting(
        64,
        "training images that weights are learned from, as queries",
        affects="factors",
        bounds=COUNT,
    )
    top_share: float = setting(
        0.05,
        "share of images whose scores count as signal of a query, the highest",
        affects="factors",
        bounds=FRACTION,
    )
    weight_penalty: float = setting(
        0.1,
        "penalty of the weights' mean square, in root mean squares of a query's scores",
        affects="factors",
        bounds=NOT_NEGATIVE,
    )
    ridge: Ridge = group(Ridge, affects="factors")

    def __post_init__(self) -> None:
        super().__post_init__()
        projection = self.features.projection
        has_blocks = projection.is_by_layer or "layout" not in settings_of(projection.projection)
        require(
            has_blocks,
            f"{self.title} needs features with dimensions for each layer",
            f"layout={projection.layout!r}",
            "Give layout='layers', best with budget='variance' (--layout layers --budget "
            "variance), or projection='none'.",
        )

    def check_given(self, settings: Mapping[str, Any]) -> None:
        super().check_given(settings)
        unused = {f.name for f in fields(Ridge if self.base == "ekfac" else Preconditioning)}
        unused |= {"objective"} if self.base == "d-trak" else set()
        for name in sorted(unused & settings.keys()):
            raise SettingsError(
                f"{name} has no effect on {self.title} with base={self.base!r}. Leave it out, or "
                "choose another base (--base)."
            )

    def base_method(self) -> GradientMethod:
        """The method whose scores are weighted, on the same features."""
        queries: Any = {
            "query_draws": self.query_draws,
            "query_objective": self.query_objective,
            "query_timesteps": self.query_timesteps,
        }
        if self.base == "ekfac":
            return EKFACInfluence(self.features, **queries)
        plain = replace(self.features, preconditioning=Preconditioning())
        if self.base == "trak":
            return TRAK(plain, **queries, ridge=self.ridge)
        square_norm = replace(plain, objective=Objective("square-norm"))
        return DTRAK(square_norm, **queries, ridge=self.ridge)

    def feature_terms(self) -> Mapping[str, BilinearAttributor]:
        return {"features": self.base_method()}

    def index_settings(self) -> dict[str, Any]:
        return self.base_method().index_settings()

    @property
    def stores_factors(self) -> bool:
        return self.base_.stores_factors

    def learn(self, context: FitContext) -> None:
        self.base_ = self.base_method().fit(context)
        blocks = context.blocks
        require(
            sum(block.rows for block in blocks) == self.features_.dim
            and [block.name for block in blocks] != ["*"],
            f"{self.title} needs to know which of the {self.features_.dim} dimensions are of which "
            "layer",
            [block.name for block in blocks],
            "Build an index with layout='layers' (--layout layers --budget variance), or give "
            "FitContext(blocks=...).",
        )
        self._blocks = blocks
        self.layer_names_ = tuple(block.name for block in blocks)
        parts = (part for part in ("layer-weights", context.feature_set, context.half) if part)
        self.layer_weights_ = context.cache.array(
            "-".join(parts), self, partial(self._learned_weights, context.memory)
        )

    def model_scores(self, model: int, query: np.ndarray) -> np.ndarray:
        return self.base_.model_scores(model, self._as_query(model, query))

    def query_factors(self, model: int, query: np.ndarray) -> np.ndarray:
        factors = self._by_layer(self.base_.query_factors(model, query))
        scale = np.repeat(self.layer_weights_[model], [block.rows for block in self._blocks])
        return self._as_stored(factors * scale)

    def train_factors(
        self, model: int, memory: int = MEMORY, first: int = 0
    ) -> Iterator[tuple[int, np.ndarray]]:
        return self.base_.train_factors(model, memory, first)

    def feature_form(self, model: int, factors: np.ndarray) -> FeatureForm:
        return self.base_.feature_form(model, factors)

    def facts(self) -> Mapping[str, Any]:
        mean = self.layer_weights_.mean(0)
        order = np.argsort(-mean, kind="stable")[:LISTED]
        largest = {self.layer_names_[i]: round(float(mean[i]), 3) for i in order}
        count = mean.sum() ** 2 / (mean**2).sum()
        return {
            **self.base_.facts(),
            "layers": len(mean),
            "layers if all weights were equal": round(float(count), 1),
            "largest layer weights": largest,
        }

    def _as_query(self, model: int, query: np.ndarray) -> np.ndarray:
        """Query features whose factors in the other method are this method's.

        Its query-side factors are the features, less a mean in methods that center.
        """
        offset = self.base_.query_factors(model, np.zeros((1, query.shape[1])))
        return self.query_factors(model, query) - offset

    def _learned_weights(self, memory: int) -> np.ndarray:
        """Weights of all layers under each model, shape `(C, L)`."""
        table = self.features_
        queries, images = (
            np.unique(np.linspace(0, table.n - 1, count).astype(np.int64))
            for count in (self.weight_queries, IMAGES)
        )
        needed = 3 * 8 * len(queries) * len(self._blocks) * len(images)
        require(
            needed <= memory,
            f"Scores by layer of {len(queries)} queries, {len(self._blocks)} layers and "
            f"{len(images):,} images take {size(needed)} while weights are learned; fitting may "
            "take less",
            size(memory),
            "Learn from fewer queries (--weight-queries), or give more memory (--memory).",
        )
        weights, top = [], max(1, round(self.top_share * len(images)))
        bar = self.context_.runtime.progress("layer weights", table.models, "model")
        with bar:
            for model in range(table.models):
                scores = self._layer_scores(model, queries, images)
                objective = WeightObjective.of_scores(
                    scores, queries[:, None] != images, top, self.weight_penalty
                )
                weights.append(learn_weights(objective))
                bar.advance()
        return np.stack(weights)

    def _layer_scores(self, model: int, queries: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Scores by layer of some training images for others, float64 of shape `(m, L, n)`."""
        rows = take_rows(self.features_, model, queries)
        factors = self._by_layer(self.base_.query_factors(model, rows))
        result = np.empty((len(queries), len(self._blocks), len(images)))
        for start, chunk in self.base_.train_factors(model):
            low, high = np.searchsorted(images, [start, start + len(chunk)])
            some = self._by_layer(chunk[images[low:high] - start])
            for layer, block in enumerate(self._blocks):
                part = slice(block.start, block.start + block.rows)
                result[:, layer, low:high] = factors[:, part] @ some[:, part].T
        return result

    def _by_layer(self, factors: np.ndarray) -> np.ndarray:
        """Factors with the dimensions of each layer side by side; few-bit ones are rotated."""
        if self.features.bits == 16:
            return factors
        import torch

        return self._rotation().inverse(torch.from_numpy(factors)).numpy()

    def _as_stored(self, factors: np.ndarray) -> np.ndarray:
        """The inverse of `_by_layer`."""
        if self.features.bits == 16:
            return factors
        import torch

        return self._rotation()(torch.from_numpy(factors)).numpy()

    def _rotation(self) -> Any:
        from creditline.gradients.projection.rotation import RandomRotation

        return RandomRotation(self.features_.dim, self.features.projection.projection_seed)
