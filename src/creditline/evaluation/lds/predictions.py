"""Predictions of every kind of method for all queries of a comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from creditline import methods
from creditline.data.image_set import ImageSet
from creditline.evaluation.lds.config import LDSConfig
from creditline.evaluation.lds.contributors import has_varying_shares, predict_from_totals
from creditline.evaluation.lds.damping import predict_per_damping
from creditline.evaluation.lds.folds import fit_folds
from creditline.evaluation.lds.score import LDS, predict_outputs
from creditline.indexing.store import Store
from creditline.indexing.thumbnail import compact
from creditline.methods.attributor import Attributor
from creditline.methods.fit_context import FitContext
from creditline.methods.scores import QueryBatch
from creditline.methods.subset_method import SubsetAttributor
from creditline.settings import to_dict

if TYPE_CHECKING:
    from creditline.indexing.index import Index


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

    def all(self, names: Sequence[str | Attributor], losses: np.ndarray) -> list[MethodOutputs]:
        """Every method asked for, then the baselines that were not."""
        asked = {name if isinstance(name, str) else name.name for name in names}
        scored = [self.one(name, losses) for name in names]
        scored += [self.pixels(cls) for cls in _baselines() if cls.name not in asked]
        return [*scored, self.random()]

    def one(self, name: str | Attributor, losses: np.ndarray) -> MethodOutputs:
        """A method by name or instance."""
        cls: Any = methods.get(name) if isinstance(name, str) else type(name)
        needs, held = cls.capabilities, self.index.method.capabilities
        if needs.kind == "subset":
            method: Any = cls() if isinstance(name, str) else name
            return self.retrained(method, losses)
        if needs.features == "pixels" and held.features != "pixels":
            return self.pixels(cls)
        return self.indexed(name)

    def indexed(self, name: str | Attributor) -> MethodOutputs:
        """A method on the index's features, at every damping if it has one."""
        index = self.index.using(name)
        method = index.method
        features = self._extracted(index)

        def scores(chosen: Index) -> np.ndarray:
            blocks = [chosen.scores(block) for block in features]
            # A method that ranks at every timestep is judged by their average.
            return np.concatenate([b.mean(1) if b.ndim == 3 else b for b in blocks])

        if not method.capabilities.damped:
            return self._plain(method.name, method.title, scores(index))
        ridge, own = method.ridge, scores(index)  # type: ignore[attr-defined]

        def scores_at(damping: float) -> np.ndarray:
            if damping == ridge.damping:
                return own
            return scores(index.using(ridge=dataclasses.replace(ridge, damping=damping)))

        outputs = predict_per_damping(scores_at, self.masks, ridge.damping, self.contest.search)
        totals = self._totals(own)
        return MethodOutputs(method.name, method.title, outputs, ridge.damping, totals=totals)

    def retrained(self, method: SubsetAttributor, losses: np.ndarray) -> MethodOutputs:
        """Held-out predictions of a method that learns from the ground truth itself."""
        seed = self.contest.bootstrap_seed
        fits = fit_folds(method.unfitted, self.masks, losses, seed=seed)
        held_out = fits.lds(fits.outputs(), resamples=self.contest.resamples, seed=seed)
        return MethodOutputs(method.name, method.title, held_out=held_out)

    def pixels(self, cls: type[Attributor]) -> MethodOutputs:
        """A pixel method, on the thumbnails that the index keeps and those of the queries."""
        train = self.store.thumbnails(range(self.index.n))
        queries = [
            compact(images.image(i)) for _, _, images in self.folders for i in range(len(images))
        ]
        pixels = _flat([*train, *queries])
        method = cls().fit(FitContext(features=pixels[: len(train)]))
        scores = method.score(QueryBatch(features=pixels[len(train) :])).values
        return self._plain(method.name, method.title, scores)

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


def _baselines() -> list[type[Attributor]]:
    """The methods that are shown beside every other one."""
    return [cls for cls in methods.classes().values() if cls.capabilities.baseline]


def _flat(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Pixels in [-1, 1] at the size of the smallest, float32 of shape `(b, H W C)`."""
    pictures = [Image.open(BytesIO(data)).convert("RGB") for data in thumbnails]
    size = min(picture.size for picture in pictures)
    arrays = [
        np.asarray(p if p.size == size else p.resize(size, Image.Resampling.BOX)) for p in pictures
    ]
    return np.stack(arrays).reshape(len(arrays), -1).astype(np.float32) / 127.5 - 1.0
