"""Build an index and open one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.curvature.kernel import MEMORY
from creditline.data.image_source import ImageSource
from creditline.data.load import load_images
from creditline.diffusion.encoding_config import require_folder
from creditline.diffusion.load import load_model
from creditline.diffusion.model_source import ModelSource
from creditline.errors import SettingsError
from creditline.explain import explained
from creditline.features.encoder import Encoder
from creditline.features.extractor import FeatureExtractor
from creditline.files import refuse_file
from creditline.indexing.build import build, default_shard_rows
from creditline.indexing.extractors import make_extractor
from creditline.indexing.index import Index
from creditline.indexing.request import index_facts, index_request
from creditline.indexing.resources import load_models
from creditline.manifest import Manifest
from creditline.methods.attributor import Attributor
from creditline.methods.fit_context import FitContext
from creditline.methods.subset_losses import GroundTruthArrays, SubsetLosses
from creditline.runtime import Runtime
from creditline.settings import override, require


@explained
def index(
    model: ModelSource | Sequence[ModelSource] | None,
    images: ImageSource,
    *,
    method: str | Attributor = methods.DEFAULT,
    out: str | Path,
    encoder: str | Encoder | None = None,
    ground_truth: GroundTruthArrays | None = None,
    runtime: Runtime | None = None,
    shard_rows: int | None = None,
    overwrite: bool = False,
    encoded: str | Path | None = None,
    curvature: str | Path | None = None,
    **settings: Any,
) -> Index:
    """Index every training image of a model, so that query images can be attributed to them.

    Interrupt it at any time; the same call continues and ends with the same index.

    Args:
        model: what `load_model` takes or returns; several of one architecture (checkpoints, an
            ensemble) as a list; None for methods that take no model.
        images: what `load_images` takes or returns.
        method: a name (see `creditline methods`), `package.module:Class`, or an instance.
        out: folder to write.
        encoder: a callable, or a folder of a CLIP or DINO model, for encoder methods.
        ground_truth: losses of retrained models, for subset methods: a `GroundTruth`, or
            `SubsetLosses`.
        runtime: where and how the work runs; models given as paths are loaded on its first device.
        shard_rows: images per shard, the unit of resuming; by default 32, 128 on a GPU,
            and 512 without a model.
        overwrite: replace an index made from something else.
        encoded: folder of latents and text embeddings that several indexes share; by default
            each has its own, until it is complete.
        curvature: folder of fitted curvature that several indexes share; by default each fits its
            own. What was fitted to another model or other images is not used.
        settings: any setting of the method by name, such as `timesteps=100, dim=8192`.

    Returns:
        The finished index.

    Raises:
        CreditlineError: before long work, if anything does not fit (see `creditline.errors`).
    """
    attributor = methods.get(method)() if isinstance(method, str) else method
    if isinstance(encoder, str):
        settings["encoder"], encoder = encoder, None
    attributor = override(attributor, settings)
    attributor.check_given(settings)
    require(
        shard_rows is None or shard_rows >= 1,
        "shard_rows must be at least 1",
        shard_rows,
        "Try 32.",
    )
    require_folder(encoded)
    if encoder is not None:
        if attributor.capabilities.features != "encoder":
            raise SettingsError(
                f"{attributor.title} uses no encoder, and one was given. Leave it out, or choose "
                "encoder-dot or encoder-cosine."
            )
        # The request of the index names the encoder.
        attributor = replace(attributor, encoder=encoder)  # type: ignore[type-var]
    runtime = runtime or Runtime()
    has, device = attributor.capabilities, runtime.main_device
    training_images = load_images(images, runtime=runtime)
    subsets = _subsets(attributor, ground_truth, training_images.ids)
    listed = _as_list(model)
    takes_models = has.models != "none"
    models = [load_model(m, device=device) for m in listed if m is not None and takes_models]
    require_folder(encoded, models)
    extractor = make_extractor(attributor, models, training_images.shape, encoder, device)
    _require_curvature(curvature, extractor)
    rows = default_shard_rows(extractor, models) if shard_rows is None else shard_rows
    request = index_request(attributor, extractor, models, training_images, rows, subsets)
    facts = index_facts(extractor, models, training_images)
    folder = Path(out)
    build(
        folder,
        extractor,
        training_images,
        request,
        facts,
        runtime,
        rows,
        overwrite,
        encoded=None if encoded is None else Path(encoded),
        subsets=subsets,
        curvature=None if curvature is None else Path(curvature),
    )
    encoder = encoder or getattr(extractor, "encoder", None)  # by what name the caller gave it
    return Index(
        folder, models=models or None, encoder=encoder, images=training_images, runtime=runtime
    )


@explained
def open_index(
    path: str | Path,
    *,
    model: ModelSource | Sequence[ModelSource] | None = None,
    encoder: Encoder | None = None,
    images: ImageSource | None = None,
    runtime: Runtime | None = None,
    memory: int = MEMORY,
    keep: bool = True,
) -> Index:
    """Open an index.

    Args:
        path: folder that `index` wrote.
        model: the indexed model (or list of models) if it moved; by default it is loaded from
            where it was when a query first needs it.
        encoder: the callable, for an index built with one.
        images: the training images if they moved, for methods that need them when a query comes;
            what `load_images` takes or returns.
        runtime: where queries are computed, and what receives progress.
        memory: bytes that fitting the curvature may take.
        keep: whether traces store train-side factors beside the index; see `Index`.

    Returns:
        The index, ready for queries.

    Raises:
        CreditlineError: if the folder is no finished index.
    """
    require(memory >= 1, "memory must be at least 1 byte", memory, "Leave it out.")
    runtime, models = runtime or Runtime(), None
    if model is not None:
        manifest, device = Manifest.read(Path(path), "index"), runtime.main_device
        models = load_models(manifest, _as_list(model), device=device)
    return Index(
        path,
        models=models,
        encoder=encoder,
        images=images,
        runtime=runtime,
        memory=memory,
        keep=keep,
    )


def _subsets(
    method: Attributor, ground_truth: GroundTruthArrays | None, ids: Sequence[str]
) -> SubsetLosses | None:
    """What a subset method learns from, learned from once so that it is refused before work."""
    if method.capabilities.kind != "subset":
        if ground_truth is not None:
            raise SettingsError(
                f"{method.title} does not learn from retrained models, and a ground truth was "
                "given. Leave it out, or choose a subset method such as datamodel."
            )
        return None
    if ground_truth is None:
        raise SettingsError(
            f"{method.title} learns from retrained models. Give the ground truth that `creditline "
            "evaluate retrain` wrote (ground_truth=, --ground-truth)."
        )
    subsets = SubsetLosses.of(ground_truth, ids)
    method.unfitted().fit(FitContext(subsets=subsets))
    return subsets


def _as_list(model: ModelSource | Sequence[ModelSource] | None) -> list[ModelSource | None]:
    """Return several models as they are, and one (or None) as a list."""
    return list(model) if isinstance(model, (list, tuple)) else [model]  # type: ignore[list-item]


def _require_curvature(folder: str | Path | None, extractor: FeatureExtractor) -> None:
    """Refuse a folder of curvature that is a file, or that no feature would use."""
    if folder is None:
        return
    refuse_file("curvature", folder)
    if not extractor.has_curvature:
        raise SettingsError(
            f"curvature= (--curvature) names {folder}, and these features have no preconditioner. "
            "Leave it out, or choose a method that has one, such as ekfac (--method ekfac)."
        )
