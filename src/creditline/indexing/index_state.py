"""The contents of an index folder at one time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.curvature.kernel import MEMORY
from creditline.errors import CreditlineError
from creditline.gradients.projection import Block
from creditline.indexing.fit_cache import StoredFitCache
from creditline.indexing.fit_folder import fit_folder
from creditline.indexing.fit_name import fit_name
from creditline.indexing.store import Store
from creditline.indexing.stored_features import StoredFeatures, open_features
from creditline.indexing.table_schema import TableSchema
from creditline.manifest import Manifest
from creditline.methods.attributor import Attributor
from creditline.methods.fit_context import FitContext
from creditline.runtime import Runtime
from creditline.settings import describe


@dataclass(frozen=True)
class IndexState:
    """The table that a manifest names, and results that were fitted to it.

    Attributes:
        folder: the index.
        manifest: complete.
        memory: bytes that fitting may take.
        runtime: receives its progress.
    """

    folder: Path
    manifest: Manifest
    memory: int = MEMORY
    runtime: Runtime = field(default_factory=Runtime)

    @classmethod
    def read(cls, folder: Path, memory: int, runtime: Runtime) -> IndexState:
        """The contents of `folder` now.

        Raises:
            CreditlineError: if it is no index, not complete or of an earlier version.
        """
        manifest = Manifest.read(folder, "index")
        if manifest.status != "complete":
            raise CreditlineError(
                f"{folder} is not complete. Run the `creditline index` command that started it "
                "again; it continues where it stopped."
            )
        if not {"sets", "bits"} <= manifest.request["features"].keys():
            raise CreditlineError(
                f"{folder} was made by an earlier version of Creditline. Build it again with "
                "--overwrite."
            )
        _require_one_shape(manifest, folder)
        return cls(folder, manifest, memory, runtime)

    @cached_property
    def store(self) -> Store:
        """The table's version that the manifest names."""
        features, facts = self.manifest.request["features"], self.manifest.facts
        schema = TableSchema(
            features["models"],
            features["dim"],
            features["halves"],
            "masks" in self.manifest.request["images"],
            features["sets"],
            tuple(features["bits"]),
            "captions" in self.manifest.request["images"],
        )
        version = facts["table_version"], facts["table_checksum"]
        return Store(self.folder, schema, *version, rows=self.manifest.request["images"]["n"])

    @cached_property
    def features(self) -> StoredFeatures:
        """The features in it."""
        request = self.manifest.request
        rates = tuple(model.get("learning_rate") for model in request["models"])
        rates = rates or (None,) * self.store.models
        return open_features(self.store, request["images"]["n"], rates)

    @cached_property
    def fits(self) -> StoredFitCache:
        """Results of fitting, in a folder of what they were fitted to."""
        return StoredFitCache(fit_folder(self.folder, self.fit_name))

    @property
    def contents(self) -> tuple[Any, ...]:
        """What changes with every change of the index."""
        facts = self.manifest.facts
        return self.manifest.request, facts.get("table_version"), facts.get("table_checksum")

    @property
    def fit_name(self) -> str:
        """Name of the contents, which no other request has."""
        return fit_name(self.manifest.request)

    def leave_results(self, current: str | None) -> None:
        """Keep results for this process alone, once the index is of other images.

        Args:
            current: name of the contents that the index has now; None if it has none.
        """
        if current != self.fit_name and "fits" in self.__dict__:
            self.fits.leave()

    @property
    def keeps_results(self) -> bool:
        """Whether results of fitting outlast this process."""
        return self.fits.folder.is_relative_to(self.folder)

    @cached_property
    def context(self) -> FitContext:
        """What methods are fitted to: the features, with cached results."""
        features = self.features if self.store.models else None
        return FitContext(
            features=features,
            feature_sets=self.store.schema.feature_sets,
            blocks=[Block(*block) for block in self.manifest.facts["blocks"]],
            memory=self.memory,
            runtime=self.runtime,
            cache=self.fits,
        )

    def settings(
        self, method: Attributor, facts: Mapping[str, Any] | None = None
    ) -> Mapping[str, Mapping[str, Any]]:
        """What a reader of scores may want to know, in sections.

        Args:
            method: that scores.
            facts: what fitting it found; see `Attributor.facts`.
        """
        request, noted = self.manifest.request, self.manifest.facts
        data = {**request["images"], "source": noted["data_source"]}
        if "changes" in noted:
            data["changes"] = noted["changes"]
        model = {"sources": noted["model_sources"], "models": request["models"]}
        if any(noted.get("model_options") or ()):
            model["options"] = noted["model_options"]
        sections: dict[str, Mapping[str, Any]] = {
            "model": model,
            "data": data,
            "features": {**request["features"], "blocks": len(noted["blocks"])},
            "method": {"name": methods.reference(method), **describe(method)},
        }
        if facts:
            sections["curvature"] = facts
        return sections


def _require_one_shape(manifest: Manifest, folder: Path) -> None:
    """Refuse a manifest whose numbers contradict each other.

    Raises:
        CreditlineError: naming both.
    """
    features, models = manifest.request["features"], manifest.request["models"]
    dim, sets, bits = features["dim"], features["sets"], features["bits"]
    sizes = list(sets.values()) if len(sets) > 1 else [dim]
    fault = ""
    if features["models"] and models and features["models"] != len(models):
        fault = f"{features['models']} models have features, and {len(models)} are named"
    elif sum(sizes) != dim:
        fault = f"features have {dim} dimensions, and their sets {sum(sizes)}"
    elif len(bits) != len(sizes):
        fault = f"{len(sizes)} feature sets have {len(bits)} numbers of bits"
    elif any(size * own % 8 for size, own in zip(sizes, bits, strict=True)):
        fault = f"features of {sizes} numbers of {bits} bits do not fill bytes"
    if fault:
        raise CreditlineError(
            f"{folder} has a manifest that contradicts itself: {fault}. Restore it from a backup, "
            "or build the index again with --overwrite."
        )
