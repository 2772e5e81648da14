"""Index: an index folder and a method that scores with it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.features.table import FeatureTable
from creditline.indexing import change
from creditline.indexing.index_state import IndexState
from creditline.indexing.method_checks import (
    method_for,
    require_searchable,
    require_shared_index,
    require_updatable,
)
from creditline.indexing.queries import (
    Queries,
    QueryBlock,
    QueryFeatures,
    QuerySource,
    without_halves,
)
from creditline.indexing.query_extractor import QUERY_BATCH, QueryExtractor
from creditline.indexing.query_scoring import QueryScoring
from creditline.indexing.ranker import Ranker
from creditline.indexing.regions import RegionSource
from creditline.indexing.request import method_of
from creditline.indexing.resources import Resources
from creditline.indexing.search_result import SearchResult
from creditline.indexing.subset_file import read_subsets
from creditline.methods.attributor import Attributor
from creditline.methods.fit_context import FitContext
from creditline.methods.score_noise import ScoreNoise
from creditline.methods.score_transform import ScoreTransform
from creditline.records import MethodCard, QueryTrace
from creditline.runtime import Runtime
from creditline.settings import from_dict, override, require
from creditline.trace import Trace
from creditline.version import __version__


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
        self.keep, self.runtime = keep, runtime or Runtime()
        state = IndexState.read(self.path, memory, self.runtime)
        self.method = method_of(state.manifest.request)
        self._use(state, Resources(state, models, encoder, images))

    def _use(self, state: IndexState, resources: Resources) -> None:
        self._state, self._resources = state, resources
        self._extractor = QueryExtractor(state, resources)
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
        other = copy.copy(self)
        other.method = override(basis, settings).unfitted()
        require_shared_index(other.method, self.method)
        return other

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
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        if method is not None:
            return self.using(method).trace(queries, top=top, prompts=prompts, region=region)
        if prompts is not None or region is not None:
            queries = self.extract(queries, prompts, region)
        prepared, blocks = self._query_blocks(queries)
        fit = self._fit(stored_factors=self.keep and self.method.capabilities.searchable)
        scoring = QueryScoring(fit)
        ranker = Ranker(
            self.store, self.self_influence(), self.method.capabilities.causal, self.transform
        )
        traces: list[QueryTrace] = []
        for block in blocks:
            scores, noise = scoring.with_noise(block)
            for i, position in enumerate(block.positions):
                for unit, row in enumerate(scores[i]):
                    suffix = self._unit_name(prepared, position, unit)
                    own = None if noise is None else noise.of_query(i)
                    traces.append(ranker.rank(row, own, top, prepared, position, suffix))
        return Trace(
            method=self.card(),
            settings=self._state.settings(self.method, fit.facts()),
            n_train=self.n,
            queries=tuple(traces),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
        )

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
        scores is held.

        Args:
            queries: as in `trace`.
            top: images to return for each.
            opponents: return the images with the smallest scores.
            approximate: search a vector index (IVF-PQ), built on first use, which reads only a
                part of the factors; the scores it returns are exact.
            region: see `extract`.

        Raises:
            SettingsError: if the method's ranking is not one of inner products.
        """
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        require_searchable(self.method)
        if region is not None:
            queries = self.extract(queries, region=region)
        prepared, blocks = self._query_blocks(queries)
        fit = self._fit()
        nearest = self._state.fits.nearest(fit) if approximate else None
        searcher = nearest or self._state.fits.factors(fit)
        scoring, sign = QueryScoring(fit), -1.0 if opponents else 1.0
        results = [searcher.top(sign * scoring.factors(block), top) for block in blocks]
        return SearchResult(
            np.concatenate([rows for rows, _ in results]),
            sign * np.concatenate([scores for _, scores in results]),
            prepared.images.names,
            nearest.recall if nearest else None,
            self.store,
        )

    def add(self, images: ImageSource, *, runtime: Runtime | None = None) -> Self:
        """Append training images, and update the results of fitting, without starting over.

        Interrupt it at any time; the same call continues. Scores are those of an index built from
        all images, to rounding. It is not checked whether the model was trained on them.

        Args:
            images: what `load_images` takes or returns, prepared as the index's images were.
            runtime: where features are extracted; the index's own by default.

        Returns:
            The index of all images. This one still reads the former images.

        Raises:
            SettingsError: if the method's index cannot be updated.
            CreditlineError: before long work, if anything does not fit; see `change.add`.
        """
        require_updatable(self.method)
        spec = from_dict(ImageSpec, self.manifest.request["images"]["spec"])
        more = (
            images if isinstance(images, ImageSet) else load_images(images, spec, runtime=runtime)
        )
        extractor = self._resources.extractor(self.method)
        change.add(self._state, extractor, more, runtime or self.runtime)
        return self._reopen()

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
        """
        require_updatable(self.method)
        change.remove(self._state, change.find_rows(self.store.facts(), images), purge)
        return self._reopen()

    def _reopen(self) -> Self:
        """This index as the folder holds it now."""
        other = copy.copy(self)
        state = IndexState.read(self.path, self._state.memory, self.runtime)
        other._use(state, self._resources.of_state(state))
        return other

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
        prepared, blocks = self._query_blocks(queries)
        scoring = QueryScoring(self._fit())
        matrix: np.ndarray | None = None
        for block in blocks:
            scores = scoring.transformed(block)
            scores = scores if self.method.keeps_timesteps else scores[:, 0]
            if matrix is None:
                shape = (len(prepared.images), *scores.shape[1:])
                matrix = (
                    np.empty(shape)
                    if out is None
                    else np.lib.format.open_memmap(out, "w+", np.float64, shape)
                )
            matrix[block.positions.start : block.positions.stop] = scores
        if matrix is None:
            raise SettingsError("There is no query to score. Give at least one image.")
        return matrix

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
        if isinstance(queries, QueryFeatures):
            raise SettingsError(
                "These queries are extracted already. Give prompts and region to `extract`."
            )
        prepared = self._extractor.prepare(queries, self.method, prompts, region)
        blocks = list(self._extractor.extract(prepared, self.method))
        values = [block.values for block in blocks if block.values is not None]
        errors = [block.errors for block in blocks if block.errors is not None]
        return QueryFeatures(
            prepared,
            np.concatenate(values) if values else None,
            np.concatenate(errors) if errors else None,
            self._extractor.recipe(self.method),
        )

    def noise(self, features: QueryFeatures) -> ScoreNoise:
        """The split-half noise estimate of the scores of queries.

        Args:
            features: what `extract` returned.

        Raises:
            SettingsError: if the index's or the queries' noise has no halves.
        """
        self.require_errors()
        _, blocks = self._blocks(features)
        scoring = QueryScoring(self._fit())
        parts = [scoring.with_noise(block)[1] for block in blocks]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or not parts:
            raise without_halves("these queries have none")
        return ScoreNoise.stacked(known)

    def require_errors(self) -> None:
        """Refuse, before queries are extracted, what needs an error that no score can have.

        Raises:
            SettingsError: if the noise of the index's features has no halves.
        """
        if self.errors is None:
            raise without_halves("the index has none")

    def self_influence(self) -> np.ndarray | None:
        """Score of every training image for itself, float64 of shape `(n,)`, where known.

        It is computed once for each method and its settings, then kept in the index folder.
        """
        if not self.method.capabilities.self_influence:
            return None

        def compute() -> np.ndarray:
            return np.asarray(self._fit().self_influence())

        return self._state.fits.array("self-influence", self.method, compute)

    def card(self) -> MethodCard:
        """What a reader must know about the method."""
        m = self.method
        causal = m.capabilities.causal
        return MethodCard(m.name, m.title, m.paper, m.formula, causal, str(self.transform))

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

    def _fit(self, stored_factors: bool = False) -> Attributor:
        """The method, fitted to what it learns from."""
        return self._state.fits.fit(self.method, self._context(stored_factors))

    def _context(self, stored_factors: bool) -> FitContext:
        context, kind = self._state.context, self.method.capabilities.kind
        if kind == "model":
            models, images = self._resources.models(), self._resources.images()
            return replace(context, models=models, images=images)
        if kind == "subset":
            return replace(context, subsets=read_subsets(self.path))
        return replace(context, stored_factors=stored_factors)

    def _query_blocks(
        self, queries: QuerySource | QueryFeatures
    ) -> tuple[Queries, Iterator[QueryBlock]]:
        """As `_blocks`, after a check of what their scores need."""
        if self.transform.needs_error:
            self.require_errors()
        return self._blocks(queries)

    def _blocks(self, queries: QuerySource | QueryFeatures) -> tuple[Queries, Iterator[QueryBlock]]:
        """Queries that have been checked, and their features, extracted when asked for."""
        if not isinstance(queries, QueryFeatures):
            prepared = self._extractor.prepare(queries, self.method)
            return prepared, self._extractor.extract(prepared, self.method)
        lines = difference(dict(queries.recipe), self._extractor.recipe(self.method))
        if lines:
            raise IndexMismatchError(
                "These query features were extracted for something else:\n"
                + "\n".join(lines)
                + "\nExtract them again with this index and method."
            )
        return queries.queries, queries.blocks(QUERY_BATCH)

    def _unit_name(self, queries: Queries, position: int, unit: int) -> str:
        run = queries.trajectories[position]
        if not self.method.keeps_timesteps or run is None:
            return ""
        return f" at t={int(run.timesteps[unit])}"
