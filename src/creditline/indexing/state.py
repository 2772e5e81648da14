"""State: what an index folder holds at one time, and in words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from creditline.curvature.kernel import MEMORY
from creditline.errors import CreditlineError
from creditline.indexing.fitted import FOLDER, FitCache
from creditline.indexing.sources import described
from creditline.indexing.store import Store, StoredFeatures
from creditline.manifest import Manifest
from creditline.methods.base import Method
from creditline.runtime import Runtime


@dataclass(frozen=True)
class IndexState:
    """The table that a manifest names, and what was fitted to it.

    Attributes:
        folder: the index.
        manifest: complete.
        memory: bytes that fitting may take.
        runtime: hears of its progress.
    """

    folder: Path
    manifest: Manifest
    memory: int = MEMORY
    runtime: Runtime = field(default_factory=Runtime)

    @classmethod
    def read(cls, folder: Path, memory: int, runtime: Runtime) -> IndexState:
        """What `folder` holds now.

        Raises:
            CreditlineError: if it is no index, not complete or of an earlier version.
        """
        manifest = Manifest.read(folder, "index")
        if manifest.status != "complete":
            raise CreditlineError(
                f"{folder} is not complete. Run the `creditline index` command that began it "
                "once more; it continues where it stopped."
            )
        if "halves" not in manifest.request["features"]:
            raise CreditlineError(
                f"{folder} was made by an earlier version and does not say whether the noise of "
                "its features has halves. Build it again with --overwrite."
            )
        return cls(folder, manifest, memory, runtime)

    @cached_property
    def store(self) -> Store:
        """The table's version that the manifest names."""
        features, facts = self.manifest.request["features"], self.manifest.facts
        return Store(
            self.folder,
            features["models"],
            features["dim"],
            features["halves"],
            facts.get("table_version"),
            "masks" in self.manifest.request["images"],
        )

    @cached_property
    def features(self) -> StoredFeatures:
        """The features in it."""
        request = self.manifest.request
        rates = tuple(model.get("learning_rate") for model in request["models"])
        rates = rates or (None,) * self.store.models
        return StoredFeatures(self.store, request["images"]["n"], rates)

    @cached_property
    def fitted(self) -> FitCache:
        """What was fitted to them, in a folder that is named after the images."""
        name = self.manifest.request["images"]["fingerprint"][:12]
        return FitCache(self.folder / FOLDER / name, self.features, self.memory, self.runtime)

    def settings(self, method: Method) -> Mapping[str, Mapping[str, Any]]:
        """What a reader of scores may want to know, in sections."""
        request, facts = self.manifest.request, self.manifest.facts
        data = {**request["images"], "source": facts["data_source"]}
        if "changes" in facts:
            data["changes"] = facts["changes"]
        model = {"sources": facts["model_sources"], "models": request["models"]}
        if any(facts.get("model_options") or ()):
            model["options"] = facts["model_options"]
        sections: dict[str, Mapping[str, Any]] = {
            "model": model,
            "data": data,
            "features": {**request["features"], "blocks": len(facts["blocks"])},
            "method": {"name": method.name, **described(method)},
        }
        damping: Sequence[float] | None = getattr(method, "damping_", None)
        if damping is not None:
            sections["curvature"] = {
                "space": method.spectra_[0].space,  # type: ignore[attr-defined]
                "absolute damping": list(damping),
            }
        return sections
