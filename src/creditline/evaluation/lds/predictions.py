"""Predicted outputs of subsets, by every kind of method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from creditline.data.decode import decode
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.contributors import has_varying_shares, predict_from_totals
from creditline.evaluation.lds.damping import predict_per_damping
from creditline.evaluation.lds.folds import fit_folds
from creditline.evaluation.lds.query_folders import QueryFolder
from creditline.evaluation.lds.score import LDS, predict_outputs
from creditline.evaluation.truth.ground_truth import GroundTruth
from creditline.fingerprint import of_json
from creditline.indexing.thumbnail import compact
from creditline.methods import registry
from creditline.methods.fit_context import FitContext
from creditline.methods.scores import QueryBatch
from creditline.settings import to_dict

if TYPE_CHECKING:
    from creditline.indexing.index import Index
    from creditline.indexing.queries import QueryFeatures
    from creditline.methods.attributor import Attributor

FeatureStore = dict[str, list["QueryFeatures"]]
"""Features of each query folder, by what they were extracted with."""


@dataclass(frozen=True)
class MethodOutputs:
    """Predicted outputs of one method for all queries.

    Attributes:
        name, title: name and title of the method.
        outputs: predicted outputs `(m, M)` by damping; under None for methods without damping.
        default_damping: the method's own damping; None for methods without damping.
        held_out: LDS on held-out subsets, instead of `outputs`, of a subset method.
        totals: outputs `(m, M)` predicted from totals per contributor.
    """

    name: str
    title: str
    outputs: Mapping[Any, np.ndarray] = field(default_factory=dict)
    default_damping: float | None = None
    held_out: LDS | None = None
    totals: np.ndarray | None = None


class OutputPredictor:
    """Predicts the outputs of subsets by any method; extracts features once per plan and kind.

    Args:
        index: index of the model that was trained on all images.
        truth: a ground truth without missing losses.
        folders: the query images, in the order of the losses.
        config: settings of the evaluation.
        features: features of the queries that are already extracted; receives further ones.
    """

    def __init__(
        self,
        index: Index,
        truth: GroundTruth,
        folders: Sequence[QueryFolder],
        config: LDSConfig,
        features: FeatureStore | None = None,
    ) -> None:
        self.index, self.truth, self.folders, self.config = index, truth, folders, config
        known = truth.contributors or tuple(index.store.facts()["contributor"])
        self.contributors = known if has_varying_shares(truth.masks, known) else None
        self.features = {} if features is None else features

    def predict_all(self, methods: Sequence[str | Attributor]) -> list[MethodOutputs]:
        """Predict by every method, then by the baselines that are not among them."""
        names = {method if isinstance(method, str) else method.name for method in methods}
        baselines = [c for c in registry.classes().values() if c.capabilities.baseline]
        return [
            *(self.predict(method) for method in methods),
            *(self._predict_by_thumbnails(c) for c in baselines if c.name not in names),
            self._predict_at_random(),
        ]

    def predict(self, method: str | Attributor) -> MethodOutputs:
        """Predict by a method that is given by name or as an instance."""
        cls = registry.get(method) if isinstance(method, str) else type(method)
        needs, stored = cls.capabilities, self.index.method.capabilities
        if needs.kind == "subset":
            return self._predict_held_out(cls() if isinstance(method, str) else method)
        if needs.features == "pixels" and stored.features != "pixels":
            return self._predict_by_thumbnails(cls)
        return self._predict_by_index(method)

    def _predict_by_index(self, method: str | Attributor) -> MethodOutputs:
        """Predict by a method that the index serves, at every damping if it is damped."""
        index = self.index.using(method)
        attributor: Any = index.method
        features = self._extract(index)

        def score(view: Index) -> np.ndarray:
            blocks = [view.scores(folder) for folder in features]
            # A method that ranks at single timesteps is evaluated by their mean.
            return np.concatenate([b.mean(1) if b.ndim == 3 else b for b in blocks])

        scores = score(index)
        if not attributor.capabilities.damped:
            return self._predict(attributor, scores)
        ridge = attributor.ridge

        def score_at(damping: float) -> np.ndarray:
            if damping == ridge.damping:
                return scores
            return score(index.using(ridge=replace(ridge, damping=damping)))

        return MethodOutputs(
            attributor.name,
            attributor.title,
            predict_per_damping(score_at, self.truth.masks, ridge.damping, self.config.search),
            ridge.damping,
            totals=self._predict_totals(scores),
        )

    def _predict_held_out(self, method: Any) -> MethodOutputs:
        """Evaluate a subset method on subsets that it did not learn from."""
        seed = self.config.bootstrap_seed
        fits = fit_folds(method.unfitted, self.truth.masks, self.truth.losses, seed=seed)
        lds = fits.lds(fits.outputs(), resamples=self.config.resamples, seed=seed)
        return MethodOutputs(method.name, method.title, held_out=lds)

    def _predict_by_thumbnails(self, cls: type[Attributor]) -> MethodOutputs:
        """Predict by a pixel method on thumbnails, which every index stores."""
        train = self.index.store.thumbnails(range(self.index.n))
        queries = [
            compact(folder.images.image(i))
            for folder in self.folders
            for i in range(len(folder.images))
        ]
        pixels = _decode_thumbnails([*train, *queries])
        method = cls().fit(FitContext(features=pixels[: len(train)]))
        scores = method.score(QueryBatch(features=pixels[len(train) :])).values
        return self._predict(method, scores)

    def _predict_at_random(self) -> MethodOutputs:
        """Predict by independent normal scores, the baseline of chance."""
        m = sum(len(folder.images) for folder in self.folders)
        rng = np.random.default_rng(self.config.bootstrap_seed)
        scores = rng.standard_normal((m, self.index.n))
        outputs = {None: predict_outputs(scores, self.truth.masks)}
        return MethodOutputs("random", "Random", outputs, totals=self._predict_totals(scores))

    def _predict(self, method: Attributor, scores: np.ndarray) -> MethodOutputs:
        outputs = {None: predict_outputs(scores, self.truth.masks)}
        totals = self._predict_totals(scores)
        return MethodOutputs(method.name, method.title, outputs, totals=totals)

    def _predict_totals(self, scores: np.ndarray) -> np.ndarray | None:
        if self.contributors is None:
            return None
        return predict_from_totals(scores, self.truth.masks, self.contributors)

    def _extract(self, index: Index) -> list[QueryFeatures]:
        method = index.method
        plan, held = method.query_plan, of_json(method.index_settings())
        key = repr((plan and to_dict(plan), method.keeps_timesteps, held))
        if key not in self.features:
            self.features[key] = [index.extract(folder.source) for folder in self.folders]
        return self.features[key]


def _decode_thumbnails(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Decode pixels in [-1, 1] at the size of the smallest image, float32 `(b, H W C)`."""
    images = [decode(data, "a thumbnail of the index").convert("RGB") for data in thumbnails]
    size = min(image.size for image in images)
    arrays = [
        np.asarray(image if image.size == size else image.resize(size, Image.Resampling.BOX))
        for image in images
    ]
    return np.stack(arrays).reshape(len(arrays), -1).astype(np.float32) / 127.5 - 1.0
