"""Index: an index folder and a method that scores with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.explain import explained
from creditline.features.table import FeatureTable
from creditline.indexing import change
from creditline.indexing.index_state import IndexState
from creditline.indexing.method_checks import (
    method_for,
    require_shared_index,
    require_updatable,
)
from creditline.indexing.queries import QueryFeatures, QuerySource
from creditline.indexing.query_engine import QueryEngine
from creditline.indexing.reading import consistent
from creditline.indexing.regions import RegionSource
from creditline.indexing.request import method_of
from creditline.indexing.resources import Resources
from creditline.indexing.search_result import SearchResult
from creditline.methods.attributor import Attributor
from creditline.methods.score_noise import ScoreNoise
from creditline.methods.score_transform import ScoreTransform
from creditline.records import MethodCard
from creditline.runtime import Runtime
from creditline.settings import from_dict, override
from creditline.trace import Trace


class Index:
    """Every training image of a model, ready to be attributed to.

    An index never changes: `using` returns one with another method, `add` and `remove` return one
    of other images. Results of fitting are kept beside the folder's table and shared.

    Args:
        path: folder that `creditline.index` or `creditline index` wrote.
        models: the indexed models, when they are at hand; otherwise they are loaded from where
            the manifest says when a query first needs them.
        encoder: the encoder, for an index built with a callable.
        images: the training images, or where they are now, for methods that need them when a
            query comes.
        runtime: where queries are computed, and what receives progress.
        memory: bytes that fitting may take.
        keep: whether `trace` stores train-side factors, 4 bytes per number (three times that
            where errors are known), so that a query is one pass over them.

    Attributes:
        manifest: what the index was built from.
        method: how it scores; see `using`.
        n: number of training images.
        models: number of models C whose features are stored.
        dim: feature dimension k.
        learning_rates: of each model's checkpoint, or None.
        store: the table on disk.
        errors: table of the features' errors; None where their noise was not halved.

    Raises:
        CreditlineError: if the folder is no index, or is not complete.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        models: Any = None,
        encoder: Any = None,
        images: ImageSource | None = None,
        runtime: Runtime | None = None,
        memory: int = MEMORY,
        keep: bool = True,
    ) -> None:
        self.path = Path(path)
        self.runtime = runtime or Runtime()
        state = IndexState.read(self.path, memory, self.runtime)
        resources = Resources(state, models, encoder, images)
        self._use(QueryEngine(state, resources, method_of(state.manifest.request), keep))

    def _use(self, engine: QueryEngine) -> None:
        self._engine, self._state, self.method = engine, engine.state, engine.method
        state = engine.state
        self.manifest, self.store, self.table = state.manifest, state.store, state.features
        self.models, self.dim = self.store.models, self.store.dim
        self.n, self.learning_rates = self.table.n, self.table.learning_rates
        self.errors: FeatureTable | None = self.table.errors

    def __len__(self) -> int:
        return self.n

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r}, {self.n:,} images, {self.method.title}, k={self.dim})"

    def chunks(self, model: int) -> Iterator[tuple[int, np.ndarray]]:
        """Stored features of one model, float64, chunk by chunk (see `FeatureTable`)."""
        return self.table.chunks(model)

    @consistent
    def features(self, model: int = 0) -> np.ndarray:
        """All stored features of one model, float64 of shape `(n, k)`."""
        return np.concatenate([rows for _, rows in self.chunks(model)])

    def using(self, method: str | Attributor | None = None, **settings: Any) -> Self:
        """The same index with another method or other settings of it; extracts nothing.

        Args:
            method: name or instance of a method that the stored contents serve.
            settings: settings of the method to change, by name, such as `damping=0.01`.

        Raises:
            IndexMismatchError: if the method needs an index of other contents, naming them.
            SettingsError: on an unknown method or setting.
        """
        basis = method_for(method, self.method) if method is not None else self.method
        scorer = override(basis, settings).unfitted()
        require_shared_index(scorer, self.method)
        return self._with(replace(self._engine, method=scorer))

    @consistent
    def trace(
        self,
        queries: QuerySource | QueryFeatures,
        *,
        top: int = 20,
        method: str | Attributor | None = None,
        prompts: str | Sequence[str] | None = None,
        region: RegionSource | None = None,
    ) -> Trace:
        """Attribute query images to the training images.

        Args:
            queries: paths, folders, Pillow images, arrays, tensors (floats in [-1, 1]), lists of
                these, an `ImageSet`, or what `extract` returned.
            top: proponents and opponents to return for each, fewer where fewer scores have that
                sign.
            method: score with another method on the same index; see `using`.
            prompts, region: see `extract`.

        Returns:
            A `Trace`: per query its proponents, opponents and totals.

        Raises:
            DataError: if an image is missing, unreadable or of another shape, or a region wrong.
            SettingsError: if `top` is below 1.
        """
        engine = self._engine if method is None else self.using(method)._engine
        return engine.trace(queries, top=top, prompts=prompts, region=region)

    @consistent
    def search(
        self,
        queries: QuerySource | QueryFeatures,
        *,
        top: int = 20,
        opponents: bool = False,
        approximate: bool = False,
        region: RegionSource | None = None,
    ) -> SearchResult:
        """Search the training images with the largest scores, without totals and errors.

        It is one pass over the stored factors for up to 16 queries at a time, and no row of all
        scores is held. Features of few bits are read instead of factors.

        Args:
            queries: as in `trace`.
            top: images to return for each.
            opponents: return the images with the smallest scores.
            approximate: search a vector index, built on first use: product codes of the factors,
                or signs of few-bit features. It may miss images. The scores it returns are exact,
                but for the spreads that `combined` divides by, which are estimated.
            region: see `extract`.

        Raises:
            SettingsError: if the method's ranking is not one of inner products, or an approximate
                search is not to be had: of few images, or of few-bit features under a kernel of
                images.
        """
        return self._engine.search(
            queries, top=top, opponents=opponents, approximate=approximate, region=region
        )

    @explained
    def add(self, images: ImageSource, *, runtime: Runtime | None = None) -> Self:
        """Append training images, and update the results of fitting, without starting over.

        Interrupt it at any time; the same call continues. Images that the index has already, with
        the same pixels and name, are left out with a notice. Scores are those of an index built
        from all images, to rounding. It is not checked whether the model was trained on them.

        Args:
            images: what `load_images` takes or returns, prepared as the index's images were.
            runtime: where features are extracted; the index's own by default.

        Returns:
            The index of all images. This one still reads the former images.

        Raises:
            SettingsError: if the method's index cannot be updated.
            LockedError: if another process changes the index.
            IndexMismatchError: if another process has changed it since it was opened.
            CreditlineError: before long work, if anything does not fit; see `change.add`.
        """
        require_updatable(self.method)
        spec = from_dict(ImageSpec, self.manifest.request["images"]["spec"])
        more = (
            images if isinstance(images, ImageSet) else load_images(images, spec, runtime=runtime)
        )
        extractor = self._engine.resources.extractor(self.method)
        change.add(self._state, extractor, more, runtime or self.runtime)
        return self._reopen()

    @explained
    def remove(self, images: Sequence[int | str], *, purge: bool = False) -> Self:
        """Remove training images, and update the results of fitting, without starting over.

        Scores are those of an index built without them, to rounding; the model still is one that
        was trained on them.

        Args:
            images: positions, ids (which stand for all images of equal pixels) or names.
            purge: write the table anew, so that their data is deleted from every file; takes as
                long as copying it.

        Returns:
            The index of the other images. This one still reads the former images, unless they were
            purged.

        Raises:
            DataError: if an image is not there, or several have the name.
            SettingsError: if no image would remain, or the method's index cannot be updated.
            LockedError: if another process changes the index.
            IndexMismatchError: if another process has changed it since it was opened.
        """
        require_updatable(self.method)
        change.remove(self._state, images, purge)
        return self._reopen()

    def _reopen(self) -> Self:
        """This index as the folder holds it now."""
        state = IndexState.read(self.path, self._state.memory, self.runtime)
        resources = self._engine.resources.of_state(state)
        return self._with(replace(self._engine, state=state, resources=resources))

    def _with(self, engine: QueryEngine) -> Self:
        other = copy.copy(self)
        other._use(engine)
        return other

    @consistent
    def scores(
        self, queries: QuerySource | QueryFeatures, *, out: str | Path | None = None
    ) -> np.ndarray:
        """The complete score matrix, after the method's `ScoreTransform`.

        Args:
            queries: as in `trace`.
            out: write to this `.npy` file as rows are finished and return a memory map of it.

        Returns:
            float64 of shape `(m, n)`, or `(m, t, n)` for a method that keeps timesteps.
        """
        return self._engine.scores(queries, out=out)

    @consistent
    def extract(
        self,
        queries: QuerySource | QueryFeatures,
        prompts: str | Sequence[str] | None = None,
        region: RegionSource | None = None,
    ) -> QueryFeatures:
        """Extract features of queries, to be scored by several methods or dampings.

        Args:
            queries: as in `trace`.
            prompts: prompts of the images, where the model is conditioned on text: one, or one for
                each; by default their captions, or what `creditline generate` recorded.
            region: the part of the images that is traced, one or one for each: a box or a gray
                image; see `creditline.indexing.regions`.

        Raises:
            SettingsError: if the queries are what `extract` returned.
        """
        return self._engine.extract(queries, prompts, region)

    @consistent
    def noise(self, features: QueryFeatures) -> ScoreNoise:
        """The split-half noise estimate of the scores of queries.

        Args:
            features: what `extract` returned.

        Raises:
            SettingsError: if the index's or the queries' noise has no halves.
        """
        return self._engine.noise(features)

    def require_errors(self) -> None:
        """Refuse, before queries are extracted, what needs an error that no score can have.

        Raises:
            SettingsError: if the noise of the index's features has no halves.
        """
        self._engine.require_errors()

    @consistent
    def self_influence(self) -> np.ndarray | None:
        """Score of every training image for itself, float64 of shape `(n,)`, where known.

        It is computed once for each method and its settings, then kept in the index folder.
        """
        return self._engine.self_influence()

    def card(self) -> MethodCard:
        """What a reader must know about the method."""
        return self._engine.card()

    @consistent
    def digest(self) -> str:
        """Hash of all stored facts, thumbnails, features and norms, in row order."""
        return self.store.digest()

    def info(self) -> dict[str, Any]:
        """What the index holds, for people."""
        files = [f for f in self.path.rglob("*") if f.is_file()]
        return {
            "path": str(self.path),
            "images": self.n,
            "title": self.method.title,
            "models": self.models,
            "feature dimension": self.dim,
            "bytes on disk": sum(f.stat().st_size for f in files),
            **{k: dict(v) for k, v in self._state.settings(self.method).items()},
            "facts": dict(self.manifest.facts),
        }

    @property
    def transform(self) -> ScoreTransform:
        """The transform of scores that shares are made of and that `scores` applies."""
        return self.method.score_transform
