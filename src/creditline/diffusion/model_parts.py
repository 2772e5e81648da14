"""What was found where a model should be: its network, and the pipeline around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from creditline.diffusion.components import listed_parts, load_network, load_pipeline, read_json
from creditline.diffusion.families import (
    PIPELINES,
    LatentDenoiser,
    family_of_network,
    family_of_pipeline,
)
from creditline.errors import ModelError

PIXELS = "UNet2DModel"
SUPPORTED = (f"{PIXELS} on pixels, as in DDPMPipeline", *PIPELINES)
"""What `load_model` can load, in words."""


@dataclass(frozen=True)
class ModelParts:
    """Parts of a model.

    Attributes:
        network: the denoiser's network.
        pipeline: the diffusers pipeline with its frozen parts; None: there are none.
        scheduler: what lay beside it: an object, a folder, or None.
        family: of a network on latents; None: on pixels.
        label: the place, for messages.
    """

    network: Any
    pipeline: Any
    scheduler: Any
    family: type[LatentDenoiser] | None
    label: str


def from_folder(folder: Path, around: Any, allow_pickle: bool, dtype: torch.dtype) -> ModelParts:
    """The parts of a model in a folder.

    Args:
        folder: of a pipeline or of a bare network.
        around: pipeline that a bare network belongs to: a folder, an object or None.
        allow_pickle: accept weights that are not safetensors.
        dtype: of the weights.

    Raises:
        ModelError: if there is no model, it is not supported or cannot be loaded.
    """
    if (folder / "model_index.json").is_file():
        if around is not None:
            raise ModelError(f"{folder} is a whole pipeline. Leave pipeline= (--pipeline) out.")
        index = read_json(folder / "model_index.json")
        family = family_of_pipeline(str(index.get("_class_name")))
        parts = (family.part,) if family else ("unet", "transformer")
        part = next((p for p in parts if index.get(p)), "unet")
        label = f"{folder}, a {index.get('_class_name')},"
        kind = _network_class((index.get(part) or [None, None])[1], family, label)
        if family is not None:
            listed_parts(folder)  # complete, before the largest of them is loaded
        network = load_network(folder / part, kind, allow_pickle, dtype)
        whole = load_pipeline(folder, {part: network}, allow_pickle, dtype) if family else None
        # A pipeline corrects some settings of its scheduler.
        scheduler = folder / "scheduler" if whole is None else whole.scheduler
        return ModelParts(network, whole, scheduler, family, str(folder))
    if (folder / "config.json").is_file():
        name = read_json(folder / "config.json").get("_class_name")
        family = _family_around(around, name)
        network = load_network(folder, _network_class(name, family, folder), allow_pickle, dtype)
        whole = _around(around, network, family, allow_pickle, dtype)
        places = (folder / "scheduler", folder.parent / "scheduler")
        own = next((place for place in places if place.is_dir()), None)
        scheduler = getattr(whole, "scheduler", None) if own is None else own
        return ModelParts(network, whole, scheduler, family, str(folder))
    if not folder.exists():
        raise ModelError(f"There is no {folder}. Give a model's folder, or a model object.")
    raise ModelError(
        f"{folder} is not a model: it has neither model_index.json (a pipeline), nor "
        "config.json (a bare model), nor model/ (a finished run of `creditline train`)."
    )


def from_object(source: Any, around: Any, allow_pickle: bool, dtype: torch.dtype) -> ModelParts:
    """The parts of a pipeline or network object; arguments as `from_folder`.

    Raises:
        ModelError: if it is not supported.
    """
    label = type(source).__name__
    family = family_of_pipeline(label)
    if family is not None:
        network = unwrapped(getattr(source, family.part))
        return ModelParts(network, source, source.scheduler, family, label)
    source = unwrapped(source)
    network = unwrapped(getattr(source, "unet", source))
    name, where = type(network).__name__, f"the object given ({label})"
    # Of a pipeline that is not known only networks on pixels are.
    family = None if network is not source and around is None else _family_around(around, name)
    _network_class(name, family, where)
    whole = _around(around, network, family, allow_pickle, dtype)
    scheduler = getattr(source, "scheduler", None) or getattr(whole, "scheduler", None)
    return ModelParts(network, whole, scheduler, family, label)


def unwrapped(network: Any) -> Any:
    """The network in a `PeftModel`, with its adapters on it."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def _family_around(around: Any, name: str | None) -> type[LatentDenoiser] | None:
    """The family of a bare network, by its pipeline where one is given."""
    if around is None:
        family = None if name == PIXELS else family_of_network(str(name))
        if family is not None:
            family.require_pipeline(str(name), around)
        return family
    if isinstance(around, (str, Path)):
        kind = str(read_json(Path(around) / "model_index.json").get("_class_name"))
    else:
        kind = type(around).__name__
    family = family_of_pipeline(kind)
    if family is None:
        raise ModelError(f"No network comes from a {kind}; known: {', '.join(PIPELINES)}.")
    return family


def _around(around: Any, network: Any, family: Any, allow_pickle: bool, dtype: torch.dtype) -> Any:
    """The pipeline given, with the network in its place."""
    if around is None:
        return None
    if isinstance(around, (str, Path)):
        return load_pipeline(Path(around), {family.part: network}, allow_pickle, dtype)
    return type(around)(**{**around.components, family.part: network})


def _network_class(name: str | None, family: type[LatentDenoiser] | None, where: object) -> Any:
    """The class of a network.

    Raises:
        ModelError: if it is not supported, naming what is.
    """
    import diffusers

    if family is not None and name not in family.networks:
        kinds, pipelines = " or ".join(family.networks), " or ".join(family.pipelines)
        raise ModelError(f"The network of {where} is a {name}; a {pipelines} has a {kinds}.")
    if family is None and name != PIXELS:
        raise ModelError(f"The network of {where} is a {name}; supported: {', '.join(SUPPORTED)}.")
    return getattr(diffusers, str(name))
