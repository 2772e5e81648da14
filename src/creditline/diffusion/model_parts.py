"""The parts of a model: its network, and the pipeline around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from creditline.diffusion.components import load_network, load_pipeline
from creditline.diffusion.families import FAMILIES
from creditline.diffusion.families.registry import Family
from creditline.diffusion.json_file import read_json
from creditline.diffusion.pipeline_index import UNUSED, PipelineIndex, read_pipeline_index
from creditline.diffusion.weight_files import WeightOptions
from creditline.errors import ModelError

NETWORKS = ("unet", "transformer")
"""Components of a pipeline that are its denoiser's network."""


@dataclass(frozen=True)
class ModelParts:
    """Parts of a model.

    Attributes:
        network: the denoiser's network.
        pipeline: the diffusers pipeline with its frozen components; None: there are none.
        scheduler: a scheduler object, its folder, or None.
        family: the network's family.
        label: where the model came from, for messages.
    """

    network: Any
    pipeline: Any
    scheduler: Any
    family: Family
    label: str


def from_folder(folder: Path, around: Any, options: WeightOptions) -> ModelParts:
    """Load the parts of a model from a folder.

    Args:
        folder: folder of a pipeline or of a network.
        around: pipeline of a network: a folder, an object or None.
        options: variant and type of the weights, and whether pickles are accepted.

    Raises:
        ModelError: if there is no model, it is not supported or cannot be loaded.
    """
    if (folder / "model_index.json").is_file():
        if around is not None:
            raise ModelError(f"{folder} is a complete pipeline. Leave pipeline= (--pipeline) out.")
        return _from_pipeline_folder(folder, options)
    if (folder / "config.json").is_file():
        config = read_json(folder / "config.json")
        family = _family_of_network(config, around, folder)
        kind = _network_class(config.get("_class_name"))
        network = load_network(folder, kind, options, required=True)
        pipeline = _pipeline_around(around, network, family, options)
        folders = (folder / "scheduler", folder.parent / "scheduler")
        own = next((place for place in folders if place.is_dir()), None)
        scheduler = getattr(pipeline, "scheduler", None) if own is None else own
        return ModelParts(network, pipeline, scheduler, family, str(folder))
    if folder.is_file():
        raise ModelError(
            f"{folder} is a file, and a model is a folder of diffusers. Convert a checkpoint in a "
            "single file first: StableDiffusionPipeline.from_single_file(FILE)"
            ".save_pretrained(FOLDER), or the pipeline of its family."
        )
    if not folder.exists():
        raise ModelError(
            f"{folder.absolute()} does not exist. Give a model's folder, or a model object."
        )
    raise ModelError(
        f"{folder} is not a model: it has neither model_index.json (a pipeline), nor "
        "config.json (a network), nor model/ (a finished run of `creditline train`)."
    )


def from_object(source: Any, around: Any, options: WeightOptions) -> ModelParts:
    """Find the parts of a pipeline or network object; arguments as in `from_folder`.

    Raises:
        ModelError: if it is not supported.
    """
    label = type(source).__name__
    family = FAMILIES.for_pipeline(label)
    if family is not None and family.uses_pipeline:
        network = unwrap_network(getattr(source, family.component))
        return ModelParts(network, source, source.scheduler, family, label)
    source = unwrap_network(source)
    network = unwrap_network(getattr(source, "unet", source))
    place = f"the object given ({label})"
    config = {**getattr(network, "config", {}), "_class_name": type(network).__name__}
    family = _family_of_network(config, around, place, network is not source)
    if network is not source:
        parts = getattr(source, "components", None) or {}
        used = (family.component, "scheduler", *UNUSED)
        _refuse_parts([k for k, v in parts.items() if v is not None and k not in used], place)
    pipeline = _pipeline_around(around, network, family, options)
    scheduler = getattr(source, "scheduler", None) or getattr(pipeline, "scheduler", None)
    return ModelParts(network, pipeline, scheduler, family, label)


def network_family(config: dict[str, Any], pipeline: str | None, place: object) -> Family:
    """Return the family of a network.

    Args:
        config: config of the network, with its class under `_class_name`.
        pipeline: class of its pipeline; None: it has none.
        place: where it is, for messages.

    Raises:
        ModelError: if it is not supported; the message names what is.
    """
    name = config.get("_class_name")
    family = FAMILIES.for_pipeline(pipeline)
    if family is None:
        family = FAMILIES.for_network(config)
        # Of an unknown pipeline, only a network that needs nothing of it can be used.
        if family is None or (pipeline is not None and family.uses_pipeline):
            raise FAMILIES.refuse(name, place)
    if name not in family.networks:
        networks, pipelines = " or ".join(family.networks), " or ".join(family.pipelines)
        raise ModelError(f"The network of {place} is a {name}; a {pipelines} has a {networks}.")
    return family


def unwrap_network(network: Any) -> Any:
    """Return the network in a `PeftModel`, with its adapters, or the network itself."""
    return network.get_base_model() if hasattr(network, "get_base_model") else network


def network_config(folder: Path) -> tuple[dict[str, Any], str, str]:
    """Read the config of a pipeline's network.

    Args:
        folder: the pipeline's folder.

    Returns:
        The config, the name of the component, and the class of the pipeline.

    Raises:
        ModelError: if a file is missing or damaged.
    """
    return _network_config(read_pipeline_index(folder))


def _network_config(index: PipelineIndex) -> tuple[dict[str, Any], str, str]:
    family = FAMILIES.for_pipeline(index.pipeline)
    names = NETWORKS if family is None else (family.component,)
    component = next((name for name in names if name in index.components), names[0])
    path = index.folder / component / "config.json"
    listed = {"_class_name": index.components.get(component, (None, None))[1]}
    return {**(read_json(path) if path.is_file() else {}), **listed}, component, index.pipeline


def _from_pipeline_folder(folder: Path, options: WeightOptions) -> ModelParts:
    index = read_pipeline_index(folder)
    config, component, pipeline_class = _network_config(index)
    place = f"{folder}, a {pipeline_class},"
    family = network_family(config, pipeline_class, place)
    kind = _network_class(config["_class_name"])
    if not family.uses_pipeline:
        _refuse_parts(index.further(component), place)
        network = load_network(folder / component, kind, options, required=True)
        return ModelParts(network, None, folder / "scheduler", family, str(folder))
    index.require_folders()  # nothing is missing, before the largest of them is loaded
    network = load_network(folder / component, kind, options, required=True)
    pipeline = load_pipeline(folder, {component: network}, options)
    # A pipeline corrects some settings of its scheduler.
    return ModelParts(network, pipeline, pipeline.scheduler, family, str(folder))


def _refuse_parts(names: list[str], place: object) -> None:
    """Refuse a network on pixels among other parts: it may work on the latents that they make."""
    if names:
        raise ModelError(
            f"The pipeline of {place} has a {', '.join(names)}, which this class of pipeline is "
            "not known to use, so its network may not work on pixels. Supported pipelines: "
            f"{', '.join(FAMILIES.pipelines())}. If it is one of them under another name, give it "
            "that name in model_index.json; a network on pixels can be given alone, by its folder."
        )


def _family_of_network(
    config: dict[str, Any], around: Any, place: object, unknown_pipeline: bool = False
) -> Family:
    """Return the family of a network, by its pipeline if one is given."""
    if around is None:
        family = network_family(config, "" if unknown_pipeline else None, place)
        family.require_pipeline(str(config.get("_class_name")), around)
        return family
    if isinstance(around, (str, Path)):
        pipeline = read_pipeline_index(Path(around)).pipeline
    else:
        pipeline = type(around).__name__
    if FAMILIES.for_pipeline(pipeline) is None:
        known = ", ".join(FAMILIES.pipelines())
        raise ModelError(f"No network comes from a {pipeline}; known: {known}.")
    return network_family(config, pipeline, place)


def _pipeline_around(around: Any, network: Any, family: Family, options: WeightOptions) -> Any:
    """Return the pipeline given, with the network in its place."""
    if around is None:
        return None
    if isinstance(around, (str, Path)):
        return load_pipeline(Path(around), {family.component: network}, options)
    return type(around)(**{**around.components, family.component: network})


def _network_class(name: str | None) -> Any:
    import diffusers

    return getattr(diffusers, str(name))
