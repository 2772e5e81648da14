"""The calls most users need: build an index, open one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from creditline import methods
from creditline.curvature.kernel import MEMORY
from creditline.data.load import load_images
from creditline.diffusion.load import load_model
from creditline.errors import SettingsError
from creditline.indexing.build import build, usual_rows
from creditline.indexing.index import Index
from creditline.indexing.sources import facts_of, load_models, make_source, request_of
from creditline.manifest import Manifest
from creditline.methods.base import Method
from creditline.runtime import Runtime
from creditline.settings import override


def index(
    model: Any,
    images: Any,
    *,
    method: str | Method = "d-trak",
    out: str | Path,
    encoder: Any = None,
    runtime: Runtime | None = None,
    shard_rows: int | None = None,
    overwrite: bool = False,
    encoded: str | Path | None = None,
    **settings: Any,
) -> Index:
    """Index every training image of a model, so that pictures can be traced to them.

    Interrupt it at any time; the same call continues and ends with the same index.

    Args:
        model: what `load_model` takes or returns; several of one architecture (checkpoints, an
            ensemble) as a list; None for pixel and encoder methods.
        images: what `load_images` takes or returns.
        method: a name (see `creditline methods`) or an instance.
        out: folder to write.
        encoder: a callable, or a folder of a CLIP or DINO model, for encoder methods.
        runtime: where and how it is done; models given as paths are loaded on its first device.
        shard_rows: images per shard, the unit of resuming; by default 32, and 128 on a GPU.
        overwrite: replace an index made from something else.
        encoded: folder of latents and text embeddings that several indexes share; by default
            each has its own, until it is complete.
        settings: any setting of the method by name, such as `timesteps=100, dim=8192`.

    Returns:
        The finished index.

    Raises:
        CreditlineError: before long work, if anything does not fit (see `creditline.errors`).
    """
    recipe = methods.get(method)() if isinstance(method, str) else method
    if isinstance(encoder, str):
        settings["encoder"], encoder = encoder, None
    recipe = override(recipe, settings)
    if encoder is not None:
        if not hasattr(recipe, "encoder"):
            raise SettingsError(
                f"{recipe.title} uses no encoder, and one was given. Leave it out, or choose "
                "encoder-dot or encoder-cosine."
            )
        recipe = replace(recipe, encoder=encoder)  # type: ignore[type-var]  # named in the request
    runtime = runtime or Runtime()
    pictures = load_images(images)
    listed = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
    needed = recipe.source == "gradients"
    device = runtime.main_device
    models = [load_model(m, device=device) for m in listed if m is not None] if needed else []
    source = make_source(recipe, models, pictures.shape, encoder, device)
    rows = usual_rows(models) if shard_rows is None else shard_rows
    request = request_of(recipe, source, models, pictures, rows)
    facts = facts_of(source, models, pictures)
    folder = Path(out)
    kept = None if encoded is None else Path(encoded)
    build(folder, source, pictures, request, facts, runtime, rows, overwrite, kept)
    return Index(folder, models=models or None, encoder=encoder, runtime=runtime)


def open_index(
    path: str | Path,
    *,
    model: Any = None,
    encoder: Any = None,
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
        runtime: where queries are computed, and what hears of progress.
        memory: bytes that fitting the curvature may take.
        keep: whether traces keep preconditioned features beside the index; see `Index`.

    Raises:
        CreditlineError: if the folder is no finished index.
    """
    runtime, models = runtime or Runtime(), None
    if model is not None:
        listed = list(model) if isinstance(model, (list, tuple)) else [model]
        manifest, device = Manifest.read(Path(path), "index"), runtime.main_device
        models = load_models(manifest, listed, device=device)
    return Index(path, models=models, encoder=encoder, runtime=runtime, memory=memory, keep=keep)
