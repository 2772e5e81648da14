"""Index: the handle on an index folder; traces queries and answers what it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from creditline.curvature.kernel import MEMORY
from creditline.data.image_set import ImageSet
from creditline.data.image_spec import ImageSpec
from creditline.data.load import load_images
from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.features.table import FeatureTable
from creditline.indexing import change
from creditline.indexing.choice import chosen, require_features, require_searchable
from creditline.indexing.extractor import QUERY_BATCH, Extractor
from creditline.indexing.found import SearchResult
from creditline.indexing.queries import FeatureBlock, Queries, QueryFeatures, without_halves
from creditline.indexing.rank import Ranker
from creditline.indexing.scoring import QueryScoring
from creditline.indexing.sources import method_of
from creditline.indexing.state import IndexState
from creditline.methods.base import Method
from creditline.methods.noise import ScoreNoise
from creditline.methods.shape import ScoreTransform
from creditline.records import MethodCard, QueryTrace
from creditline.runtime import Runtime
from creditline.settings import from_dict, override, require
from creditline.trace import Trace
from creditline.version import __version__


class Index:
    """Features of every training image of a model, ready to be searched.

    Args:
        path: folder that `creditline.index` or `creditline index` wrote.
        models: the indexed models, when they are at hand; otherwise they are loaded from where
            the manifest says when a query first needs them.
        encoder: the encoder, for an index built with a callable.
        runtime: where queries are computed, and what hears of progress.
        memory: bytes that fitting may take.
        keep: whether `trace` keeps preconditioned features, 4 bytes per number (three times that
            where errors are known), so that a picture is one pass over them.

    Attributes:
        manifest: what the index was built from.
        method: how it scores; see `using`.
        n: number of training images.
        models: number of models C.
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
        runtime: Runtime | None = None,
        memory: int = MEMORY,
        keep: bool = True,
    ) -> None:
        self.path = Path(path)
        self.memory, self.keep, self.runtime = memory, keep, runtime or Runtime()
        self._read()
        self.method = method_of(self.manifest.request)
        self._extractor = Extractor(self.path, self.manifest, models, encoder, self.runtime)

    def _read(self) -> None:
        """Take over what the folder holds now."""
        state = IndexState.read(self.path, self.memory, self.runtime)
        self._state, self._fitted = state, state.fitted
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

    def using(self, method: str | Method | None = None, **settings: Any) -> Self:
        """The same index with another method or other settings of it; costs no extraction.

        Args:
            method: name or instance; it must be fitted on the features that are stored.
            settings: settings of the method to change, by name, such as `damping=0.01`.

        Raises:
            IndexMismatchError: if the method needs other features, naming them.
            SettingsError: on an unknown method or setting.
        """
        basis = chosen(method, self.method) if method is not None else self.method
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.method = override(basis, settings).unfitted()
        require_features(other.method, self.method)
        return other

    def trace(
        self,
        queries: Any,
        *,
        top: int = 20,
        method: str | Method | None = None,
        prompts: str | Sequence[str] | None = None,
        region: Any = None,
    ) -> Trace:
        """The training images that pictures owe most to.

        Args:
            queries: paths, folders, Pillow images, arrays, tensors (floats in [-1, 1]), lists of
                these, an `ImageSet`, or what `extract` returned.
            top: proponents and opponents to return for each, fewer where fewer scores have that
                sign.
            method: score with another method on the same features; see `using`.
            prompts, region: see `extract`.

        Returns:
            A `Trace`: per query its proponents, opponents and totals.

        Raises:
            DataError: if a picture is missing, unreadable or of another shape, or a region wrong.
            SettingsError: if `top` is below 1.
        """
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        if method is not None:
            return self.using(method).trace(queries, top=top, prompts=prompts, region=region)
        if prompts is not None or region is not None:
            queries = self.extract(queries, prompts, region)
        prepared, features = self._ready(queries)
        ranker = Ranker(self.store, self.self_influence(), self.method.causal, self.shape)
        scoring = self._scoring(self._fitted.quick(self.method) if self.keep else self.method)
        traces: list[QueryTrace] = []
        for block in features:
            scores, noise = scoring.with_noise(block)
            for i, position in enumerate(block.positions):
                for unit, row in enumerate(scores[i]):
                    suffix = self._unit_name(prepared, position, unit)
                    floor = None if noise is None else noise.of(i)
                    traces.append(ranker.rank(row, floor, top, prepared, position, suffix))
        return Trace(
            method=self.card(),
            settings=self._state.settings(self.method),
            n_train=self.n,
            queries=tuple(traces),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            version=__version__,
        )

    def search(
        self,
        queries: Any,
        *,
        top: int = 20,
        opponents: bool = False,
        approximate: bool = False,
        region: Any = None,
    ) -> SearchResult:
        """Only the training images that pictures owe most to: no totals, no errors.

        One pass over the preconditioned features, whatever the number of pictures (up to 16 at a
        time), and no row of scores is ever held.

        Args:
            queries: as in `trace`.
            top: images to return for each.
            opponents: the other end of the ranking.
            approximate: through a vector index (IVF-PQ), made on first use, which looks at a part
                of the images only; scores of what it finds are exact.
            region: see `extract`.

        Raises:
            SettingsError: if the ranking asked for is not one of inner products: single timesteps,
                or a threshold in units of errors.
        """
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        require_searchable(self.method)
        if region is not None:
            queries = self.extract(queries, region=region)
        prepared, features = self._ready(queries)
        nearest = self._fitted.nearest(self.method) if approximate else None
        searcher = nearest or self._fitted.rows(self.method)
        sign = -1.0 if opponents else 1.0
        found = []
        for block in features:
            found.append(searcher.top(sign * self._scoring().sides(block), top))
        return SearchResult(
            np.concatenate([rows for rows, _ in found]),
            sign * np.concatenate([scores for _, scores in found]),
            prepared.images.names,
            nearest.recall if nearest else None,
            self.store,
        )

    def add(self, images: Any, *, runtime: Runtime | None = None) -> None:
        """Append training images, and update what was fitted, without starting over.

        Interrupt it at any time; the same call continues. Scores are those of an index built from
        all images, to rounding. The model is not asked whether it was trained on them.

        Args:
            images: what `load_images` takes or returns, prepared as the index's images were.
            runtime: where and how features are extracted; the index's own by default.

        Raises:
            CreditlineError: before long work, if anything does not fit; see `change.add`.
        """
        spec = from_dict(ImageSpec, self.manifest.request["images"]["spec"])
        pictures = images if isinstance(images, ImageSet) else load_images(images, spec)
        change.add(
            self._state, self._extractor.source(self.method), pictures, runtime or self.runtime
        )
        self._reread()

    def remove(self, images: Sequence[int | str], *, purge: bool = False) -> int:
        """Take training images out, and update what was fitted, without starting over.

        Scores are those of an index built without them, to rounding; the model still is one that
        was trained on them.

        Args:
            images: positions, ids (which stand for all images of equal pixels) or names.
            purge: write the table anew, so that nothing of them is left in any file; takes as long
                as copying it.

        Returns:
            How many were removed.

        Raises:
            DataError: if one is not there, or a name is that of several.
            SettingsError: if none would stay.
        """
        rows = change.rows_of(self.store.facts(), images)
        change.remove(self._state, rows, purge)
        self._reread()
        return len(rows)

    def _reread(self) -> None:
        self._read()
        self._extractor.manifest = self.manifest
        self.method = self.method.unfitted()

    def scores(self, queries: Any, *, out: str | Path | None = None) -> np.ndarray:
        """The whole score matrix, on request, in the method's shape (`ScoreTransform`).

        Args:
            queries: as in `trace`.
            out: write to this `.npy` file as rows are finished and return a memory map of it.

        Returns:
            float64 of shape `(m, n)`, or `(m, t, n)` for a method that keeps timesteps.
        """
        prepared, features = self._ready(queries)
        matrix: np.ndarray | None = None
        for block in features:
            scores = self._scoring().shaped(block)
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
            raise SettingsError("There is no query to score. Give at least one picture.")
        return matrix

    def extract(
        self, queries: Any, prompts: str | Sequence[str] | None = None, region: Any = None
    ) -> QueryFeatures:
        """Features of queries, to be scored by several methods or dampings.

        Args:
            queries: as in `trace`.
            prompts: what pictures were made from, where the model reads prompts: one, or one for
                each; by default their captions, or what `creditline generate` recorded.
            region: the part of the pictures that counts, one or one for each: a box or a gray
                picture; see `creditline.indexing.regions`.
        """
        prepared = self._extractor.prepare(queries, self.method, prompts, region)
        blocks = list(self._extractor.extract(prepared, self.method))
        values = np.concatenate([block.values for block in blocks])
        errors = [block.errors for block in blocks if block.errors is not None]
        together = np.concatenate(errors) if errors else None
        return QueryFeatures(prepared, values, together, self._extractor.recipe(self.method))

    def noise(self, features: QueryFeatures) -> ScoreNoise:
        """How much noise there is in the scores of queries.

        Args:
            features: what `extract` returned.

        Raises:
            SettingsError: if the index's or the queries' noise has no halves.
        """
        self.require_errors()
        _, blocks = self._features(features)
        self._fitted.fit(self.method)
        parts = [self._scoring().with_noise(block)[1] for block in blocks]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts) or not parts:
            raise without_halves("these queries have none")
        return ScoreNoise.stacked(found)

    def require_errors(self) -> None:
        """Refuse, before queries are extracted, what needs an error that no score can have.

        Raises:
            SettingsError: if the noise of the index's features has no halves.
        """
        if self.errors is None:
            raise without_halves("the index has none")

    def self_influence(self) -> np.ndarray:
        """Score of every training image for itself, float64 of shape `(n,)`.

        Computed once for each method and setting, then kept in the index folder.
        """
        return self._fitted.self_influence(self.method)

    def card(self) -> MethodCard:
        """What a reader must know about the method."""
        m = self.method
        return MethodCard(m.name, m.title, m.paper, m.formula, m.causal, str(self.shape))

    def digest(self) -> str:
        """Hash of all stored facts, pictures, features and norms, in row order."""
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
    def shape(self) -> ScoreTransform:
        """Of the scores that count for shares and that `scores` returns."""
        return getattr(self.method, "score_shape", ScoreTransform())

    def _ready(self, queries: Any) -> tuple[Queries, Iterator[FeatureBlock]]:
        """As `_features`, with everything in place for scoring them."""
        if self.shape.needs_error:
            self.require_errors()
        found = self._features(queries)
        self._fitted.fit(self.method)
        return found

    def _features(self, queries: Any) -> tuple[Queries, Iterator[FeatureBlock]]:
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

    def _scoring(self, method: Method | None = None) -> QueryScoring:
        return QueryScoring(method or self.method, self.table, self._fitted, self.shape)

    def _unit_name(self, queries: Queries, position: int, unit: int) -> str:
        run = queries.trajectories[position]
        if not self.method.keeps_timesteps or run is None:
            return ""
        return f" at t={int(run.timesteps[unit])}"
