"""Predictions of every kind of method for all queries of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from creditline import methods, retraining
from creditline.data.image_set import ImageSet
from creditline.evaluation.lds.comparison import LDSConfig
from creditline.evaluation.lds.contributors import has_varying_shares, predict_from_totals
from creditline.evaluation.lds.damping import predict_per_damping
from creditline.evaluation.lds.folds import fit_folds
from creditline.evaluation.lds.score import LDS, predict_outputs
from creditline.indexing.store import Store
from creditline.indexing.thumbnail import compact
from creditline.methods.base import Method, RidgeMethod
from creditline.retraining.base import RetrainingMethod
from creditline.settings import to_dict

if TYPE_CHECKING:
    from creditline.indexing.index import Index

PIXELS = ("pixel-cosine", "pixel-centered", "pixel-dot")
BASELINES = PIXELS[:2]


@dataclass(frozen=True)
class MethodOutputs:
    """One method's predictions for all queries.

    Attributes:
        name, title: of the method.
        outputs: damping to predicted outputs `(m, M)`; one entry, under None, without damping.
        default: the key of the method's own.
        held_out: instead of outputs, the score of a method that learns from retrained models.
        totals: outputs predicted from contributors' totals.
    """

    name: str
    title: str
    outputs: Mapping[Any, np.ndarray] = field(default_factory=dict)
    default: float | None = None
    held_out: LDS | None = None
    totals: np.ndarray | None = None


class Scorer:
    """Predictions of any method for all queries; features are extracted once per noise plan.

    Args:
        index: the index.
        masks: shape `(M, n)`.
        contributors: of the training images.
        folders: name, pictures as given and as prepared, in order.
        store: the index's table.
        contest: how to judge.
        extracted: features of the queries that are there already; receives further ones.
    """

    def __init__(
        self,
        index: Index,
        masks: np.ndarray,
        contributors: Sequence[str | None],
        folders: Sequence[tuple[str, Any, ImageSet]],
        store: Store,
        contest: LDSConfig,
        extracted: dict[str, list[Any]] | None = None,
    ) -> None:
        self.index, self.masks, self.contributors = index, masks, contributors
        self.folders, self.store, self.contest = folders, store, contest
        self.totalled = has_varying_shares(masks, contributors)
        self._features = {} if extracted is None else extracted

    def all(self, names: Sequence[str | Method], losses: np.ndarray) -> list[MethodOutputs]:
        """Every method asked for, then the baselines that were not."""
        asked = {name if isinstance(name, str) else name.name for name in names}
        scored = [self.one(name, losses) for name in names]
        scored += [self.pixels(name) for name in BASELINES if name not in asked]
        return [*scored, self.random()]

    def one(self, name: str | Method, losses: np.ndarray) -> MethodOutputs:
        """A method by name or instance."""
        if isinstance(name, str) and name in retraining.RETRAINING:
            return self.retrained(retraining.get(name), losses)
        if name in PIXELS and self.index.method.source != "pixels":
            return self.pixels(str(name))
        return self.indexed(name)

    def indexed(self, name: str | Method) -> MethodOutputs:
        """A method on the index's features, at every damping if it has one."""
        index = self.index.using(name)
        method = index.method
        features = self._extracted(index)

        def scores(chosen: Index) -> np.ndarray:
            blocks = [chosen.scores(block) for block in features]
            # A method that ranks at every timestep is judged by their average.
            return np.concatenate([b.mean(1) if b.ndim == 3 else b for b in blocks])

        if not isinstance(method, RidgeMethod):
            return self._plain(method.name, method.title, scores(index))
        ridge, own = method.ridge, scores(index)

        def scores_at(damping: float) -> np.ndarray:
            if damping == ridge.damping:
                return own
            return scores(index.using(ridge=dataclasses.replace(ridge, damping=damping)))

        outputs = predict_per_damping(scores_at, self.masks, ridge.damping, self.contest.search)
        totals = self._totals(own)
        return MethodOutputs(method.name, method.title, outputs, ridge.damping, totals=totals)

    def retrained(self, cls: type[RetrainingMethod], losses: np.ndarray) -> MethodOutputs:
        """A method that learns from the ground truth itself, on the subsets left out of its fit."""
        seed = self.contest.bootstrap_seed
        fits = fit_folds(cls, self.masks, losses, seed=seed)
        judged = fits.lds(fits.outputs(), resamples=self.contest.resamples, seed=seed)
        return MethodOutputs(cls.name, cls.title, held_out=judged)

    def pixels(self, name: str) -> MethodOutputs:
        """Likeness of pixels, from the thumbnails that the index keeps and those of the queries."""
        kept = self.store.pictures(range(self.index.n))
        shown = [
            compact(images.image(i)) for _, _, images in self.folders for i in range(len(images))
        ]
        pixels = _flat([*kept, *shown])
        method = methods.get(name)().fit(pixels[: len(kept)])
        return self._plain(method.name, method.title, method.attribute(pixels[len(kept) :]))

    def random(self) -> MethodOutputs:
        """Independent normal scores."""
        m = sum(len(images) for _, _, images in self.folders)
        rng = np.random.default_rng(self.contest.bootstrap_seed)
        return self._plain("random", "Random", rng.standard_normal((m, self.index.n)))

    def _plain(self, name: str, title: str, scores: np.ndarray) -> MethodOutputs:
        outputs = {None: predict_outputs(scores, self.masks)}
        return MethodOutputs(name, title, outputs, totals=self._totals(scores))

    def _totals(self, scores: np.ndarray) -> np.ndarray | None:
        if not self.totalled:
            return None
        return predict_from_totals(scores, self.masks, self.contributors)

    def _extracted(self, index: Index) -> list[Any]:
        plan = index.method.query_plan
        key = repr((plan and to_dict(plan), index.method.keeps_timesteps))
        if key not in self._features:
            self._features[key] = [index.extract(source) for _, source, _ in self.folders]
        return self._features[key]


def _flat(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Pixels in [-1, 1] at the size of the smallest, float32 of shape `(b, H W C)`."""
    pictures = [Image.open(BytesIO(data)).convert("RGB") for data in thumbnails]
    size = min(picture.size for picture in pictures)
    arrays = [
        np.asarray(p if p.size == size else p.resize(size, Image.Resampling.BOX)) for p in pictures
    ]
    return np.stack(arrays).reshape(len(arrays), -1).astype(np.float32) / 127.5 - 1.0
