"""How a model was trained, read from its run folder, so that it can be trained again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from creditline.data.image_set import ImageSet
from creditline.diffusion.config import TrainConfig
from creditline.diffusion.denoiser import Denoiser
from creditline.diffusion.load import load_model
from creditline.diffusion.tuning.config import TuneConfig
from creditline.errors import DataError, ModelError
from creditline.manifest import Manifest
from creditline.settings import from_dict


def read_training_config(
    run: str | Path, images: ImageSet, base: Any = None
) -> tuple[TrainConfig | TuneConfig, Any]:
    """Settings of a run, and the model that it started from.

    Args:
        run: folder that `train` wrote.
        images: what it is said to have been trained on.
        base: the model that it started from, if it moved; by default it is loaded from where it
            was.

    Returns:
        The settings, and a `Denoiser` or None.

    Raises:
        DataError: if the run had other images.
        ModelError: if the run started from another base, or from one that is not there.
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
    return config, _base(str(run), request.get("base"), facts, base)


def _base(
    run: str, recorded: dict[str, Any] | None, facts: Mapping[str, Any], given: Any
) -> Denoiser | None:
    source = facts.get("base_source")
    if recorded is None:
        if given is not None:
            raise ModelError(f"{run} started from fresh weights. Leave base out (--base).")
        return None
    if given is None and source is None:
        raise ModelError(f"{run} started from another model. Give it as base (--base).")
    options = {} if isinstance(given, Denoiser) else facts.get("base_options", {})
    loaded = load_model(source if given is None else given, **options)
    if loaded.fingerprint != recorded["fingerprint"]:
        raise ModelError(
            f"{run} did not start from {loaded.source}, whose weights are others. Give the model "
            "that it started from as base (--base)."
        )
    return loaded
