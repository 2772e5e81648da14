"""Scores of queries by a method on the contents of an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np

from creditline.errors import IndexMismatchError, SettingsError, difference
from creditline.indexing.index_state import IndexState
from creditline.indexing.method_checks import feature_set_of, require_searchable
from creditline.indexing.queries import (
    Queries,
    QueryBlock,
    QueryFeatures,
    QuerySource,
    without_halves,
)
from creditline.indexing.query_extractor import QueryExtractor
from creditline.indexing.query_scoring import QueryScoring, require_finite
from creditline.indexing.ranker import Ranker, strongest_of_each
from creditline.indexing.regions import RegionSource
from creditline.indexing.request import method_of
from creditline.indexing.resources import Resources
from creditline.indexing.search_result import SearchResult
from creditline.indexing.subset_file import read_subsets
from creditline.methods.attributor import Attributor
from creditline.methods.bilinear import BilinearAttributor
from creditline.methods.fit_context import FitContext
from creditline.methods.score_noise import ScoreNoise
from creditline.records import MethodCard, QueryTrace
from creditline.settings import require
from creditline.trace import Trace
from creditline.version import __version__


@dataclass(frozen=True)
class QueryEngine:
    """Answers queries to an index; `Index` documents what each of them returns.

    Attributes:
        state: contents of the index.
        resources: what the index was built with.
        method: scores; not fitted itself.
        keep: whether traces use stored factors.
    """

    state: IndexState
    resources: Resources
    method: Attributor
    keep: bool = True

    @cached_property
    def extractor(self) -> QueryExtractor:
        """Prepares queries and extracts their features."""
        return QueryExtractor(self.state, self.resources)

    def trace(
        self,
        queries: QuerySource | QueryFeatures,
        *,
        top: int = 20,
        prompts: str | Sequence[str] | None = None,
        region: RegionSource | None = None,
    ) -> Trace:
        """See `Index.trace`."""
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        if prompts is not None or region is not None:
            queries = self.extract(queries, prompts, region)
        prepared, blocks = self._checked_blocks(queries)
        fit = self.fit(stored_factors=self._uses_stored_factors())
        scoring = QueryScoring(fit)
        ranker = Ranker(
            self.state.store,
            self.self_influence(),
            self.method.capabilities.causal,
            self.method.score_transform,
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
            settings=self.state.settings(self.method, fit.facts()),
            n_train=self.state.features.n,
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
        """See `Index.search`."""
        require(top >= 1, "top must be at least 1", top, "Try 20.")
        require_searchable(self.method)
        if region is not None:
            queries = self.extract(queries, region=region)
        prepared, blocks = self._checked_blocks(queries)
        fit = self.fit(stored_factors=self._has_codes() and self._uses_stored_factors())
        nearest = self.state.fits.nearest(fit) if approximate else None
        scoring, sign = QueryScoring(fit), -1.0 if opponents else 1.0
        if nearest:
            factors = (scoring.factors(block, nearest.query_factors) for block in blocks)
            results = [nearest.top(sign * own, top) for own in factors]
        elif self._has_codes():
            each = (sign * scoring.plain(block)[:, 0] for block in blocks)
            results = [strongest_of_each(scores, top) for scores in each]
        else:
            rows = self.state.fits.factors(fit)
            of = cast(BilinearAttributor, fit).weighted_query_factors
            results = [rows.top(sign * scoring.factors(block, of), top) for block in blocks]
        return SearchResult(
            np.concatenate([rows for rows, _ in results]),
            require_finite(sign * np.concatenate([scores for _, scores in results])),
            prepared.images.names,
            nearest.recall if nearest else None,
            self.state.store,
        )

    def scores(
        self, queries: QuerySource | QueryFeatures, *, out: str | Path | None = None
    ) -> np.ndarray:
        """See `Index.scores`."""
        prepared, blocks = self._checked_blocks(queries)
        scoring = QueryScoring(self.fit())
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
        """See `Index.extract`."""
        if isinstance(queries, QueryFeatures):
            raise SettingsError(
                "These queries are extracted already. Give prompts and region to `extract`."
            )
        prepared = self.extractor.prepare(queries, self.method, prompts, region)
        blocks = list(self.extractor.extract(prepared, self.method))
        values = [block.values for block in blocks if block.values is not None]
        errors = [block.errors for block in blocks if block.errors is not None]
        return QueryFeatures(
            prepared,
            np.concatenate(values) if values else None,
            np.concatenate(errors) if errors else None,
            self.extractor.recipe(self.method),
        )

    def noise(self, features: QueryFeatures) -> ScoreNoise:
        """See `Index.noise`."""
        self.require_errors()
        _, blocks = self._blocks(features)
        scoring = QueryScoring(self.fit())
        parts = [scoring.with_noise(block)[1] for block in blocks]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts) or not parts:
            raise without_halves("these queries have none")
        return ScoreNoise.stacked(known)

    def require_errors(self) -> None:
        """See `Index.require_errors`."""
        if self.state.features.errors is None:
            raise without_halves("the index has none")

    def self_influence(self) -> np.ndarray | None:
        """See `Index.self_influence`."""
        if not self.method.capabilities.self_influence:
            return None

        def compute() -> np.ndarray:
            return np.asarray(self.fit().self_influence())

        return self.state.fits.array("self-influence", self.method, compute)

    def card(self) -> MethodCard:
        """See `Index.card`."""
        m = self.method
        causal = m.capabilities.causal
        return MethodCard(
            m.name, m.title, m.paper, m.formula, causal, str(self.method.score_transform)
        )

    def fit(self, stored_factors: bool = False) -> Attributor:
        """The method, fitted to what it learns from."""
        return self.state.fits.fit(self.method, self._context(stored_factors))

    def _uses_stored_factors(self) -> bool:
        if not self.keep or not self.method.capabilities.searchable:
            return False
        return self.state.keeps_results or self.state.fits.has_factors(self.method)

    def _has_codes(self) -> bool:
        """Whether features are codes of few bits, which are multiplied as they are."""
        schema = self.state.store.schema
        names = list(schema.feature_sets)
        bits = schema.bits
        own = (bits[names.index(self.feature_set)],) if self.feature_set else bits
        return any(each < 16 for each in own)

    def _context(self, stored_factors: bool) -> FitContext:
        context, kind = self.state.context, self.method.capabilities.kind
        if kind == "model":
            models, images = self.resources.models(), self.resources.images()
            return replace(context, models=models, images=images)
        if kind == "subset":
            expected = self.state.manifest.request.get("subsets")
            return replace(context, subsets=read_subsets(self.state.folder, expected))
        if self.feature_set:
            context = context.of_set(self.feature_set)
        return replace(context, stored_factors=stored_factors)

    @cached_property
    def feature_set(self) -> str:
        """The feature set that the method scores, where it scores one of several."""
        return feature_set_of(self.method, method_of(self.state.manifest.request)) or ""

    def _checked_blocks(
        self, queries: QuerySource | QueryFeatures
    ) -> tuple[Queries, Iterator[QueryBlock]]:
        """As `_blocks`, after a check of what their scores need."""
        if self.method.score_transform.needs_error:
            self.require_errors()
        return self._blocks(queries)

    def _blocks(self, queries: QuerySource | QueryFeatures) -> tuple[Queries, Iterator[QueryBlock]]:
        """Queries that have been checked, and their features, extracted when asked for."""
        if not isinstance(queries, QueryFeatures):
            prepared = self.extractor.prepare(queries, self.method)
            return prepared, self.extractor.extract(prepared, self.method)
        lines = difference(dict(queries.recipe), self.extractor.recipe(self.method))
        if lines:
            raise IndexMismatchError(
                "These query features were extracted for something else:\n"
                + "\n".join(lines)
                + "\nExtract them again with this index and method."
            )
        return queries.queries, queries.blocks(self.method.query_block)

    def _unit_name(self, queries: Queries, position: int, unit: int) -> str:
        run = queries.trajectories[position]
        if not self.method.keeps_timesteps or run is None:
            return ""
        return f" at t={int(run.timesteps[unit])}"
