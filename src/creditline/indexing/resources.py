"""What an index was built with: models, encoder and training images, loaded when needed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from creditline.data.image_set import ImageSet
from creditline.data.image_source import ImageSource
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.errors import IndexMismatchError, ModelError, SettingsError
from creditline.features.extractor import FeatureExtractor
from creditline.indexing.extractors import make_extractor
from creditline.indexing.index_state import IndexState
from creditline.indexing.method_checks import feature_set_of
from creditline.indexing.projection import load_projection
from creditline.indexing.request import method_of
from creditline.indexing.training_images import load_training_images
from creditline.manifest import Manifest
from creditline.methods.attributor import Attributor

OPTIONS = ("dtype", "pipeline", "lora", "variant", "encoding")
"""Options of a model that an index records."""


class Resources:
    """Models, encoder and training images of an index.

    Args:
        state: of the index, with the runtime that places models.
        models: denoisers at hand; otherwise they are loaded from where the manifest says.
        encoder: the encoder, for an index built with a callable.
        images: the training images, or where they are now, for methods that need them at query
            time; otherwise they are loaded from where they were.
    """

    def __init__(
        self,
        state: IndexState,
        models: Sequence[Denoiser] | None = None,
        encoder: Any = None,
        images: ImageSource | None = None,
    ) -> None:
        self.state, self.encoder = state, encoder
        self._models = None if models is None else list(models)
        self._source = images
        self._images: ImageSet | None = None
        self._extractor: tuple[Any, FeatureExtractor] | None = None
        """The extractor, and what of a method it depends on."""

    def of_state(self, state: IndexState) -> Self:
        """The same resources for a later state of the index."""
        other = copy.copy(self)
        other.state, other._images = state, None
        return other

    def models(self) -> list[Denoiser]:
        """The models, which have the weights that were indexed.

        Raises:
            SettingsError: if they were in memory when the index was built, and are not given.
            IndexMismatchError: if their weights are not those of the index.
        """
        manifest = self.state.manifest
        records, sources = manifest.request["models"], manifest.facts["model_sources"]
        if not records:
            return []
        if self._models is None:
            if any(source is None for source in sources):
                raise SettingsError(
                    "This index was built from a model in memory. Pass it again: "
                    "creditline.open_index(path, model=...)."
                )
            try:
                self._models = load_models(manifest, sources, device=self.state.runtime.main_device)
            except ModelError as error:
                raise ModelError(
                    f"{error} It is the model of the index {self.state.folder}; if it moved, say "
                    "where it is now: creditline.open_index(path, model=...), or --model PATH."
                ) from error
        actual = [m.fingerprint for m in self._models]
        expected = [record["fingerprint"] for record in records]
        if actual != expected:
            raise IndexMismatchError(
                f"The index was built with weights {expected}; "
                f"{[m.source for m in self._models]} have {actual}. Use the indexed model, or "
                "index this one."
            )
        return self._models

    def images(self) -> ImageSet:
        """The training images; see `load_training_images`."""
        if self._images is None:
            state = self.state
            self._images = load_training_images(state.manifest, state.store.facts(), self._source)
        return self._images

    def extractor(self, method: Attributor) -> FeatureExtractor:
        """The extractor that the index was built with, for queries of a method.

        Raises:
            IndexMismatchError: if a model's weights, or its fitted projection, are not those of the
                index.
        """
        name = feature_set_of(method, method_of(self.state.manifest.request)) or ""
        query_side = method.query_plan, method.query_measure, name
        if self._extractor is None or self._extractor[0] != query_side:
            manifest = self.state.manifest
            shape = tuple(manifest.request["images"]["shape"])
            dim = manifest.request["features"]["dim"] or None
            self._require_local_encoder(method)
            store = self.state.store
            store.version.open()  # has the dimension that the manifest says
            extractor = make_extractor(
                method, self.models(), shape, self.encoder, self.state.runtime.main_device, dim
            )
            expected = manifest.facts.get("projection")
            load_projection(self.state.folder, extractor, expected, name)
            dim = store.schema.feature_sets[name] if name else store.dim
            shape, held = (extractor.models, extractor.dim), (store.models, dim)
            if shape != held:
                raise IndexMismatchError(
                    f"Features of {method.title} have {shape} models and dimensions, and those of "
                    f"{self.state.folder} have {held}. Build the index again with --overwrite."
                )
            self._extractor = query_side, extractor
        return self._extractor[1]

    def _require_local_encoder(self, method: Attributor) -> None:
        """Refuse to ask the network for what only the index names.

        Raises:
            SettingsError: if the encoder is no folder here, and none was given.
        """
        place = getattr(method, "encoder", None)
        if self.encoder is None and isinstance(place, str) and not Path(place).is_dir():
            raise SettingsError(
                f"The index was built with the encoder {place!r}, which is no folder here, and a "
                "file must not decide what is loaded from the network. Give it again: "
                f"creditline.open_index(path, encoder={place!r})."
            )


def load_models(manifest: Manifest, sources: Sequence[Any], **settings: Any) -> list[Denoiser]:
    """Load the models of an index, with the adapters and options that they were indexed with.

    Args:
        manifest: of the index.
        sources: where they are now; objects have their parts and adapters on them.
        settings: as of `load_model`.
    """
    # An index without options was built from models without any.
    options_of_models = manifest.facts.get("model_options") or []
    models = []
    for i, source in enumerate(sources):
        options = dict(options_of_models[i]) if i < len(options_of_models) else {}
        # Whether pickles are loaded is the caller's decision alone: `settings`, never the file.
        options = {name: value for name, value in options.items() if name in OPTIONS}
        if isinstance(source, Denoiser):
            options = {}
        elif not isinstance(source, (str, Path)):
            options = {k: v for k, v in options.items() if k not in ("pipeline", "lora")}
        models.append(load_model(source, **settings, **options))
    return models
