"""Features of queries, by the models and settings that an index was built with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from creditline.data.image_spec import ImageSpec
from creditline.errors import DataError, SettingsError
from creditline.gradients.noise_plan import Reduction
from creditline.indexing.index_state import IndexState
from creditline.indexing.method_checks import require_regions
from creditline.indexing.queries import Queries, QueryBlock, QueryFeatures, QuerySource, gather
from creditline.indexing.regions import RegionSource
from creditline.indexing.resources import Resources
from creditline.methods.attributor import Attributor
from creditline.settings import from_dict, to_dict


class QueryExtractor:
    """Prepares query images like the training images and extracts their features.

    Args:
        state: of the index.
        resources: models and encoder that the index was built with.
    """

    def __init__(self, state: IndexState, resources: Resources) -> None:
        self.manifest, self.resources = state.manifest, resources
        self.runtime = state.runtime

    def prepare(
        self,
        queries: QuerySource,
        method: Attributor,
        prompts: str | Sequence[str] | None = None,
        region: RegionSource | None = None,
    ) -> Queries:
        """Query images in the indexed images' shape, with what the method needs to know of them.

        Raises:
            DataError: if an image is missing, unreadable, of another shape, or without the
                sampling run that the method follows; if a region does not fit.
            SettingsError: if the method cannot score regions.
        """
        if isinstance(queries, QueryFeatures):
            raise SettingsError(
                "Features of queries were extracted for their prompts and regions. Give those to "
                "extract."
            )
        if region is not None:
            require_regions(method)
        if prompts is not None and not any(m.takes_prompts for m in self.resources.models()):
            raise SettingsError(
                "No indexed model is conditioned on text, so a prompt would do nothing. Leave "
                "prompts= (--prompt) out."
            )
        images, has = self.manifest.request["images"], method.capabilities
        prepared = gather(
            queries,
            from_dict(ImageSpec, images["spec"]),
            tuple(images["shape"]),
            runs=has.needs_trajectory,
            classes=self.manifest.facts.get("label_names"),
            prompts=prompts,
            region=region,
            template=self.manifest.facts.get("prompt_template"),
            captions="all" if "captions" in images else "one",
        )
        lengths = {len(run.timesteps) for run in prepared.trajectories if run is not None}
        if method.keeps_timesteps and len(lengths) > 1:
            raise DataError(
                f"Scores at single timesteps need sampling runs of one length; these have "
                f"{', '.join(map(str, sorted(lengths)))} steps. Trace the images separately."
            )
        if has.features is not None:
            self.resources.extractor(method).check(prepared.images)
        return prepared

    def extract(self, queries: Queries, method: Attributor) -> Iterator[QueryBlock]:
        """Blocks of queries with their features, extracted when they are asked for."""
        m = len(queries.images)
        with self.runtime.progress("trace", m, "image") as bar:
            size = method.query_block
            for start in range(0, m, size):
                positions = range(start, min(start + size, m))
                values, errors = self._features(queries, positions, method)
                images, shares = queries.images.subset(positions), queries.shares(positions)
                yield QueryBlock(positions, images, values, errors, shares)
                bar.advance(len(positions))

    def recipe(self, method: Attributor) -> dict[str, Any]:
        """Everything that decides a query's features."""
        request = self.manifest.request
        plan, measure = method.query_plan, method.query_measure
        return {
            "models": request["models"],
            "stored": request["features"],
            "settings": method.index_settings(),
            "query plan": to_dict(plan) if plan else None,
            "query measure": to_dict(measure) if measure else None,
            "timesteps kept": method.keeps_timesteps,
        }

    def _features(
        self, queries: Queries, positions: range, method: Attributor
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Values and errors of some queries' features, as in `QueryFeatures`."""
        if method.capabilities.features is None:
            return None, None
        extractor, reduction = self.resources.extractor(method), self._reduction(queries, method)
        runs = [queries.trajectories[i] for i in positions]
        features = extractor.extract(queries.images, positions, "query", runs, reduction)
        return (features[:, :1], features[:, 1]) if reduction == "halves" else (features, None)

    def _reduction(self, queries: Queries, method: Attributor) -> Reduction:
        if method.keeps_timesteps:
            return "timesteps"
        if method.query_plan is None or not self.manifest.request["features"]["halves"]:
            return "mean"
        runs = [len(run.timesteps) for run in queries.trajectories if run is not None]
        terms: Mapping[str, Any] = method.feature_terms()  # type: ignore[attr-defined]
        halvable = []
        for term in terms.values():
            plan = term.query_plan
            steps = min(runs, default=1) if plan.schedule == "trajectory" else plan.timesteps
            halvable.append(term.features.halvable(steps, plan.draws))
        return "halves" if all(halvable) else "mean"
