"""Feature sources from settings, for building an index, and from a manifest, for querying one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.data.image_set import ImageSet, fingerprint
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import learning_rate, load_model
from creditline.errors import IndexMismatchError, SettingsError
from creditline.features.encoder import EncoderExtractor, load_encoder
from creditline.features.extractor import FeatureExtractor
from creditline.features.gradients import GradientExtractor
from creditline.features.pixels import PixelExtractor
from creditline.fingerprint import of_json
from creditline.indexing.projection import load_projection
from creditline.manifest import Manifest, circumstances
from creditline.methods.base import Method
from creditline.settings import from_dict, to_dict


def make_source(
    method: Method,
    models: Sequence[Denoiser],
    shape: tuple[int, int, int],
    encoder: Any = None,
    device: str = "cpu",
    dim: int | None = None,
) -> FeatureExtractor:
    """The source of a method's features.

    Args:
        method: decides the kind of features.
        models: denoisers, for gradient methods.
        shape: of the images, for pixel methods.
        encoder: a callable, for encoder methods; otherwise the method's own folder is loaded.
        device: where an encoder runs.
        dim: an encoder's dimension, when known.

    Raises:
        SettingsError: if a gradient method has no model.
    """
    if method.source == "pixels":
        return PixelExtractor(shape)
    if method.source == "encoder":
        given = encoder if encoder is not None else method.encoder  # type: ignore[attr-defined]
        return EncoderExtractor(load_encoder(given, device), dim)
    if not models:
        raise SettingsError(
            f"{method.title} differentiates a model and none was given. "
            "Pass a model, or use a similarity method."
        )
    return GradientExtractor(models, method.features, method.query_plan)  # type: ignore[attr-defined]


def request_of(
    method: Method,
    source: FeatureExtractor,
    models: Sequence[Denoiser],
    images: ImageSet,
    shard_rows: int,
) -> dict[str, Any]:
    """Everything that decides an index's contents, as JSON values."""
    used = models if method.source == "gradients" else ()
    masks = {} if images.mask_ids is None else {"masks": of_json(images.mask_ids)}
    return {
        "method": {"name": method.name, "settings": described(method)},
        "images": {
            "fingerprint": images.fingerprint,
            "n": len(images),
            "shape": list(images.shape),
            "spec": to_dict(images.spec),
            "described": _description(images.names, images.contributors, images.columns),
            **masks,
        },
        "models": [
            {"fingerprint": m.fingerprint, "learning_rate": learning_rate(m.source)} for m in used
        ],
        "features": {
            "kind": source.kind,
            "models": source.models,
            "dim": source.dim,
            "halves": source.has_halves,
            "shard_rows": shard_rows,
        },
    }


def images_of(facts: Mapping[str, list], before: Mapping[str, Any]) -> dict[str, Any]:
    """The images' part of a request, for what a table holds now.

    Args:
        facts: of all rows; see `Store.facts`.
        before: that part for what it held before.
    """
    each = [json.loads(columns) for columns in facts["columns"]]
    columns = {name: [row.get(name) for row in each] for name in dict.fromkeys(chain(*each))}
    ids, labels, texts, masks = facts["id"], facts["label"], facts["text"], facts.get("mask")
    return {
        **before,
        **({} if masks is None else {"masks": of_json(masks)}),
        "fingerprint": fingerprint(ids, labels, texts, before["spec"], masks),
        "n": len(ids),
        "described": _description(facts["name"], facts["contributor"], columns),
    }


def _description(
    names: Sequence[str],
    contributors: Sequence[str | None],
    columns: Mapping[str, Sequence[str | None]],
) -> str:
    """Fingerprint of what is stored with every image and no part of the images' own."""
    return of_json([names, contributors, dict(columns)])


def facts_of(
    source: FeatureExtractor, models: Sequence[Denoiser], images: ImageSet
) -> dict[str, Any]:
    """What is worth knowing about an index beyond its request."""
    return {
        "model_sources": [m.source for m in models],
        "model_options": [dict(m.options) for m in models],
        "data_source": images.source,
        "duplicates": [list(group) for group in images.duplicates()],
        "skipped": [list(pair) for pair in images.skipped],
        "label_names": None if images.label_names is None else list(images.label_names),
        **({"prompt_template": images.prompt_template} if images.prompt_template else {}),
        "parameters": source.parameters,
        **circumstances(),
    }


def method_of(request: Mapping[str, Any]) -> Method:
    """The method that a manifest's request describes."""
    recipe = request["method"]
    return from_dict(methods.get(recipe["name"]), recipe["settings"])


def described(method: Method) -> dict[str, Any]:
    """Settings of a method as JSON values; a callable is named."""
    return {
        key: getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else value
        for key, value in to_dict(method).items()
    }


def load_models(manifest: Manifest, sources: Sequence[Any], **settings: Any) -> list[Denoiser]:
    """Models of an index, with the adapters and choices that they were indexed with.

    Args:
        manifest: of the index.
        sources: where they are now; objects have their parts and adapters on them.
        settings: as of `load_model`.
    """
    # Indexes of earlier versions know no options, nor any model that had some.
    recorded = manifest.facts.get("model_options") or []
    models = []
    for i, source in enumerate(sources):
        options = dict(recorded[i]) if i < len(recorded) else {}
        if isinstance(source, Denoiser):
            options = {}
        elif not isinstance(source, (str, Path)):
            options = {k: v for k, v in options.items() if k not in ("pipeline", "lora")}
        models.append(load_model(source, **settings, **options))
    return models


def load_source(
    folder: Path, manifest: Manifest, method: Method, models: Any, encoder: Any, device: str
) -> FeatureExtractor:
    """The source that an index was built with, for its queries.

    Args:
        folder: the index.
        manifest: of the index.
        method: with its query plan.
        models: denoisers at hand, or None to load them from where the manifest says.
        encoder: a callable at hand, or None.
        device: where to load.

    Raises:
        IndexMismatchError: if a model's weights, or what its projection learnt, are not those of
            the index.
    """
    request = manifest.request
    recorded = request["models"]
    sources = manifest.facts["model_sources"]
    if recorded and models is None:
        if any(source is None for source in sources):
            raise SettingsError(
                "This index was built from a model in memory. Pass it again: "
                "creditline.open_index(path, model=...)."
            )
        models = load_models(manifest, sources, device=device)
    models = list(models or ())
    found = [m.fingerprint for m in models]
    expected = [m["fingerprint"] for m in recorded]
    if recorded and found != expected:
        raise IndexMismatchError(
            f"The index was built with weights {expected}; {[m.source for m in models]} have "
            f"{found}. Use the indexed model, or index this one."
        )
    features, shape = request["features"], request["images"]["shape"]
    source = make_source(method, models, tuple(shape), encoder, device, features["dim"])
    load_projection(folder, source, manifest.facts.get("projection"))
    return source
