"""Extractor: features of queries, by the models and settings that an index was built with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from creditline.data.image_spec import ImageSpec
from creditline.errors import DataError, SettingsError
from creditline.features.extractor import FeatureExtractor
from creditline.gradients.noise_plan import Reduction
from creditline.indexing.queries import FeatureBlock, Queries, QueryFeatures, gather
from creditline.indexing.sources import load_source
from creditline.manifest import Manifest
from creditline.methods.base import Method
from creditline.runtime import Runtime
from creditline.settings import from_dict, to_dict

QUERY_BATCH = 16


class Extractor:
    """Prepares queries like the training images and extracts their features.

    Args:
        folder: the index.
        manifest: of the index.
        models: the indexed models, when they are at hand; otherwise they are loaded from where
            the manifest says when a query first needs them.
        encoder: the encoder, for an index built with a callable.
        runtime: where queries are computed.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, models: Any, encoder: Any, runtime: Runtime
    ) -> None:
        self.folder, self.manifest = folder, manifest
        self._given, self._encoder, self._runtime = models, encoder, runtime
        self._source: tuple[Any, FeatureExtractor] | None = None

    def prepare(
        self,
        queries: Any,
        method: Method,
        prompts: str | Sequence[str] | None = None,
        region: Any = None,
    ) -> Queries:
        """Pictures in the indexed images' shape, with what the method needs to know of them.

        Raises:
            DataError: if a picture is missing, unreadable, of another shape, or without the
                sampling run that the method follows; if a region does not fit.
            SettingsError: if the method's objective has no parts.
        """
        if isinstance(queries, QueryFeatures):
            raise SettingsError(
                "Features of queries were extracted for their prompts and regions. Give those to "
                "extract."
            )
        images, plan = self.manifest.request["images"], method.query_plan
        prepared = gather(
            queries,
            from_dict(ImageSpec, images["spec"]),
            tuple(images["shape"]),
            runs=plan is not None and plan.schedule == "trajectory",
            classes=self.manifest.facts.get("label_names"),
            prompts=prompts,
            region=region,
            template=self.manifest.facts.get("prompt_template"),
        )
        lengths = {len(run.timesteps) for run in prepared.trajectories if run is not None}
        if method.keeps_timesteps and len(lengths) > 1:
            raise DataError(
                f"Scores at single timesteps need sampling runs of one length; these have "
                f"{', '.join(map(str, sorted(lengths)))} steps. Trace the pictures apart."
            )
        self.source(method).check(prepared.images)
        return prepared

    def extract(self, queries: Queries, method: Method) -> Iterator[FeatureBlock]:
        """Features, a few queries at a time."""
        source, reduction = self.source(method), self._reduction(queries, method)
        m = len(queries.images)
        with self._runtime.progress("trace", m, "picture") as bar:
            for start in range(0, m, QUERY_BATCH):
                positions = range(start, min(start + QUERY_BATCH, m))
                runs = [queries.trajectories[i] for i in positions]
                found = source.extract(queries.images, positions, "query", runs, reduction)
                halved = reduction == "halves"
                values, errors = (found[:, :1], found[:, 1]) if halved else (found, None)
                yield FeatureBlock(positions, values, errors, queries.shares(positions))
                bar.advance(len(positions))

    def recipe(self, method: Method) -> dict[str, Any]:
        """What decides a query's features."""
        request, plan = self.manifest.request, method.query_plan
        features = getattr(method, "features", None)
        return {
            "models": request["models"],
            "features": {**request["features"], **(to_dict(features) if features else {})},
            "query plan": to_dict(plan) if plan else None,
            "timesteps kept": method.keeps_timesteps,
        }

    def _reduction(self, queries: Queries, method: Method) -> Reduction:
        if method.keeps_timesteps:
            return "timesteps"
        plan = method.query_plan
        if plan is None or not self.manifest.request["features"]["halves"]:
            return "mean"
        runs = [len(run.timesteps) for run in queries.trajectories if run is not None]
        steps = min(runs, default=1) if plan.schedule == "trajectory" else plan.timesteps
        halvable = method.features.halvable(steps, plan.draws)  # type: ignore[attr-defined]
        return "halves" if halvable else "mean"

    def source(self, method: Method) -> FeatureExtractor:
        """The source, loaded once for each plan of queries."""
        plan = method.query_plan
        if self._source is None or self._source[0] != plan:
            of_index = self.folder, self.manifest
            given, encoder, device = self._given, self._encoder, self._runtime.main_device
            self._source = plan, load_source(*of_index, method, given, encoder, device)
        return self._source[1]
