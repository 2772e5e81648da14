"""Components of diffusers pipelines, loaded strictly: no random weights, no code from files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from creditline.diffusion.adapter_files import PEFT_CONFIG
from creditline.diffusion.json_file import read_json
from creditline.diffusion.pipeline_index import read_pipeline_index
from creditline.diffusion.reason import shorten_reason
from creditline.diffusion.scheduler_steps import require_steps
from creditline.diffusion.weight_files import WeightOptions, choose_variant
from creditline.errors import ModelError


def load_network(folder: Path, kind: Any, options: WeightOptions, required: bool = False) -> Any:
    """Load a network of diffusers or transformers with exactly the weights in its folder.

    Args:
        folder: holds `config.json` and weights.
        kind: its class.
        options: variant and type of the weights, and whether pickles are accepted.
        required: refuse a folder without the requested variant, instead of taking another.

    Raises:
        ModelError: if weights are missing, unexpected, of other shapes or pickled.
    """
    variant = choose_variant(folder, options, required)
    from_diffusers = kind.__module__.startswith("diffusers")
    # diffusers' default needs the library accelerate, and diffusers warns where it is missing.
    own = {"low_cpu_mem_usage": False} if from_diffusers else {"trust_remote_code": False}
    if not from_diffusers and (folder / PEFT_CONFIG).exists():
        # transformers would load the base that it names, from anywhere.
        raise ModelError(f"{folder} holds an adapter ({PEFT_CONFIG}). Merge it into the weights.")
    try:
        with quiet():
            network, report = kind.from_pretrained(
                folder,
                use_safetensors=None if options.allow_pickle else True,
                variant=variant,
                torch_dtype=options.dtype,
                output_loading_info=True,
                local_files_only=True,
                **own,
            )
    except Exception as error:  # the libraries raise many kinds for damaged configs and weights
        raise ModelError(
            f"The network in {folder} cannot be loaded: {shorten_reason(error)}."
        ) from error
    # Transformers drops old buffers by design; only missing weights would be random.
    unexpected = report["unexpected_keys"] if from_diffusers else ()
    missing = report["missing_keys"]
    if missing or unexpected:
        # The libraries would initialize missing weights at random and only warn.
        raise ModelError(
            f"The weights in {folder} are not those of its config.json: "
            f"{len(missing)} are missing and {len(unexpected)} are "
            f"unexpected, such as {[*missing, *unexpected][0]}."
        )
    return network


def load_pipeline(folder: Path, loaded: Mapping[str, Any], options: WeightOptions) -> Any:
    """Load a diffusers pipeline without the components that do not affect its loss.

    Every component is loaded here, so that diffusers and transformers load none by themselves.

    Args:
        folder: holds `model_index.json`.
        loaded: components that are loaded already, by name.
        options: as of `load_network`; `dtype` is that of the text encoders, an autoencoder stays
            in float32.

    Raises:
        ModelError: if a component is missing or cannot be loaded, such as a tokenizer.
    """
    import diffusers

    index = read_pipeline_index(folder)
    index.require_folders()
    kind: Any = getattr(diffusers, index.pipeline, None)
    if not _is_a(kind, diffusers.DiffusionPipeline):
        raise ModelError(f"{folder} is a {index.pipeline}, which is no pipeline of diffusers.")
    components: dict[str, Any] = dict.fromkeys(index.absent) | dict(loaded)
    for name, (library, cls) in index.components.items():
        if name not in components:
            components[name] = _load_component(folder / name, library, cls, options)
    # Without it, a pipeline warns that its safety checker is missing.
    if "requires_safety_checker" in inspect.signature(kind).parameters:
        components["requires_safety_checker"] = False
    try:
        with quiet():
            return kind.from_pretrained(
                folder, low_cpu_mem_usage=False, local_files_only=True, **components
            )
    except Exception as error:  # as in load_network
        raise ModelError(
            f"The pipeline in {folder} cannot be loaded: {shorten_reason(error)}."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Disable the libraries' own progress bars, and restore them on exit."""
    loggers = [import_module("diffusers.utils.logging")]
    if "transformers" in sys.modules:
        loggers.append(import_module("transformers.utils.logging"))
    enabled = [logger for logger in loggers if logger.is_progress_bar_enabled()]
    try:
        for logger in enabled:
            logger.disable_progress_bar()
        yield
    finally:
        for logger in enabled:
            logger.enable_progress_bar()


def _load_component(folder: Path, library: str, name: str, options: WeightOptions) -> Any:
    """Load a component of a pipeline: a network, a scheduler or a tokenizer."""
    import diffusers

    if library == "diffusers":
        kind = getattr(diffusers, name, None)
        if _is_a(kind, diffusers.ModelMixin):
            # The autoencoder in full precision: half precision overflows in several families.
            return load_network(folder, kind, replace(options, dtype=torch.float32))
        if _is_a(kind, diffusers.SchedulerMixin):
            return _load_settings(folder, kind)
    else:
        transformers = _import_transformers()
        kind = getattr(transformers, name, None)
        if _is_a(kind, transformers.PreTrainedModel):
            return load_network(folder, kind, options)
        tokenizer = transformers.PreTrainedTokenizerBase
        missing = getattr(kind, "_backends", ())  # transformers' mark of a class it cannot import
        if name == "AutoTokenizer" or missing:
            return _load_settings(folder, kind, trust_remote_code=False)
        if _is_a(kind, tokenizer):
            return _load_settings(folder, kind, trust_remote_code=False)
    raise ModelError(
        f"{folder} is a {library}.{name}, and the components that are loaded are networks, "
        "schedulers and tokenizers. Save the pipeline with one of these."
    )


def _is_a(kind: Any, base: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, base)


def _load_settings(folder: Path, kind: Any, **options: Any) -> Any:
    """Load a component without weights.

    Raises:
        ModelError: if it cannot be loaded, or is a scheduler of more steps than fit into memory.
    """
    settings = folder / "scheduler_config.json"
    if settings.is_file():
        require_steps(read_json(settings), settings)
    try:
        with quiet():
            return kind.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:  # as in load_network
        raise ModelError(
            f"The component in {folder} cannot be loaded: {shorten_reason(error)}."
        ) from error


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ModelError(
            "Models that read text need the library transformers: pip install 'creditline[text]'."
        ) from error
    return transformers
