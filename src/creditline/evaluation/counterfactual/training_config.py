"""The training settings of a model, read from its run folder, for training it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.model_source import ModelSource
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import DataError, ModelError
from creditline.manifest import Manifest
from creditline.settings import from_dict


def read_training_config(
    run: str | Path, images: ImageSet, base: ModelSource | None = None
) -> tuple[TrainConfig | TuneConfig, Denoiser | None]:
    """Read the training settings of a run and load the model that it started from.

    Args:
        run: folder that `train` wrote.
        images: training images of the run, which are checked.
        base: the model that the run started from, if it moved; by default it is loaded from its
            recorded place.

    Returns:
        The settings, and the base model; None if the run trained from scratch.

    Raises:
        DataError: if the run had other images.
        ModelError: if the run started from another base, or the base is missing.
        CreditlineError: if the folder is not a run.
    """
    manifest = Manifest.read(Path(run), "run")
    request, facts = manifest.request, manifest.facts
    if request["images"]["fingerprint"] != images.fingerprint:
        raise DataError(
            f"{run} was trained on {request['images']['n']:,} images from "
            f"{facts.get('data_source')}, and these are {len(images):,} others from "
            f"{images.source}. Give the same images, prepared with the same options and labels."
        )
    values = request["config"]
    config: TrainConfig | TuneConfig = (
        from_dict(TuneConfig, values) if "adapter" in values else from_dict(TrainConfig, values)
    )
    return config, _load_base(str(run), request.get("base"), facts, base)


def _load_base(
    run: str, identity: dict[str, Any] | None, facts: Mapping[str, Any], base: Any
) -> Denoiser | None:
    source = facts.get("base_source")
    if identity is None:
        if base is not None:
            raise ModelError(f"{run} was trained from scratch. Leave base out (--base).")
        return None
    if base is None and source is None:
        raise ModelError(f"{run} started from another model. Give it as base (--base).")
    options = {} if isinstance(base, Denoiser) else facts.get("base_options", {})
    model: Any = source if base is None else base
    loaded = load_model(model, **options)
    if loaded.fingerprint != identity["fingerprint"]:
        raise ModelError(
            f"{run} did not start from {loaded.source}, which has other weights. Give the model "
            "that it started from as base (--base)."
        )
    return loaded
